# shellcheck shell=bash disable=SC2154,SC2016,SC2054
# What the images are, before anything runs in them.
field() { podman image inspect "localhost/$name/$1" --format "$2"; }
inside() { podman --runtime runc run --rm --network none --read-only --cap-drop all --ulimit nofile=20000:20000 \
  --ulimit nproc=4096:4096 --health-interval disable --entrypoint "$2" "localhost/$name/$1" "${@:3}"; }

for each in gateway evals; do
  check "$each: its user is a number, and not root" equal "$(field $each '{{.Config.User}}')" 10001:10001
  check "$each: its entrypoint is a list" equal "$(field $each '{{json .Config.Entrypoint}}')" "[\"$each\"]"
  check "$each: it is labelled with its revision" equal \
    "$(field $each '{{index .Config.Labels "org.opencontainers.image.revision"}}')" "$revision"
  check "$each: no Python file runs at every start but the environment's own" \
    inside $each sh -c 'test -z "$(find /opt/tollgate -name "*.pth")"'
  check "$each: neither pip, uv nor the sources are in it" \
    inside $each sh -c 'for each in /src /opt/build /opt/tollgate/bin/pip /opt/tollgate/bin/uv; do test ! -e $each || exit 1; done'
  check "$each: what its build had as a secret is not in it: the certificates are its base's" \
    equal "$(inside $each sha256sum "$certificates" 2>/dev/null)" "$(inside base sha256sum "$certificates" 2>/dev/null)"
done
check "gateway: no torch, ragas, pandas or numpy" \
  inside gateway python -c 'import importlib.util as u; assert not any(map(u.find_spec, ("torch", "ragas", "pandas", "numpy")))'
check "gateway: it stops by SIGTERM" equal "$(field gateway '{{.Config.StopSignal}}')" SIGTERM
check "gateway: its version" inside gateway gateway --version
check "evals: its commands" inside evals evals scorers
refuse "gateway: its root file system cannot be written" inside gateway touch /opt/tollgate/x
