#!/usr/bin/env bash
# Proves the images without a Docker engine, on Debian as root: builds them with buildah on a base made by debootstrap, and
# runs them with podman and runc as compose.yaml does, with PostgreSQL and Redis out of Debian and the tests' engine in
# place of vLLM. Kills what runs, starts it again, and counts what is left. It ends what it started.
#
#   docker/verify.sh          installs what it needs, unless it is there
#   VLLM=1 docker/verify.sh   builds vLLM's CPU image too, and asks it through the gateway; ten minutes more. BUILD_OPTIONS
#                             are buildah's, such as --build-arg=TORCH_INDEX=… (PyTorch's index of CPU wheels)
#   KEEP=1 docker/verify.sh   leaves the containers running, and the images
#   MIRROR=http://…           where debootstrap and apt find Debian  [what this machine's apt uses]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=docker/verify/lib.sh
. docker/verify/lib.sh

[ "$(id -u)" = 0 ] || fail "run this as root: buildah and podman build and run as root here"
install_tools
trap finish EXIT
finish_earlier

say "images"
base
image gateway docker/Dockerfile . gateway
image evals docker/Dockerfile . evals
image postgres docker/verify/servers.Dockerfile docker/verify postgres
image redis docker/verify/servers.Dockerfile docker/verify redis
if [ -n "${VLLM:-}" ] && ! podman image exists "localhost/$name/vllm-cpu"; then
  image vllm-cpu docker/vllm-cpu.Dockerfile . vllm-cpu
fi
sizes
. docker/verify/images.sh

say "the stack"
docker/secrets.sh "$work/secrets" >/dev/null
cp -r docker/gateway "$work/etc"
chmod -R a+rX "$work" "$work/etc"
stack_up
. docker/verify/stack.sh

say "what is killed comes back"
. docker/verify/killed.sh

if [ -n "${VLLM:-}" ]; then
  say "a real vLLM"
  . docker/verify/vllm.sh
fi

printf '\n%d checks passed, %d failed, %d s\n' "$passed" "$failed" "$SECONDS"
[ "$failed" = 0 ]
