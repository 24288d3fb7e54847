# shellcheck shell=bash disable=SC2154,SC2016,SC2054
# The parts of docker/verify.sh: what builds, what starts, what checks.
export DEBIAN_FRONTEND=noninteractive
name=tollgate-verify
port=${PORT:-18080}
work=$(mktemp -d "/tmp/$name.XXXXXX")
log=$work/log
certificates=/etc/ssl/certs/ca-certificates.crt
passed=0 failed=0
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
URL=http://127.0.0.1:$port

say() { printf '\n== %s\n' "$*"; }
fail() { echo "$*" >&2; exit 1; }
# `check TEXT COMMAND…`: the command has to succeed. `refuse`: it has to fail.
check() {
  local text=$1
  shift
  if "$@" >"$work/out" 2>&1; then passed=$((passed + 1)); printf '  ok      %s\n' "$text"
  else failed=$((failed + 1)); printf '  FAILED  %s\n' "$text"; sed 's/^/            /' "$work/out" | tail -8; fi
}
not() { ! "$@"; }
refuse() { check "$1" not "${@:2}"; }
# `until_true SECONDS COMMAND…`
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { "$@"; return 1; }
    sleep 0.2
  done
}
# Without a word unless it fails: podman tells at length that no systemd runs its health checks, which are asked for here.
quiet() { "$@" >"$log" 2>&1 || { cat "$log"; return 1; }; }
equal() { [ "$1" = "$2" ] || { echo "expected $2, found $1"; return 1; }; }

install_tools() {
  local missing=()
  for tool in buildah podman runc debootstrap curl; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ -x /usr/lib/podman/netavark ] || missing+=(netavark)
  [ -x /usr/lib/podman/aardvark-dns ] || missing+=(aardvark-dns)
  command -v iptables >/dev/null || missing+=(iptables)
  [ ${#missing[@]} = 0 ] && return
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

base() {
  local start=$SECONDS mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -1)}
  if ! buildah inspect --type image "localhost/$name/base" >/dev/null 2>&1; then
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base" \
      "${mirror:-http://deb.debian.org/debian}" >"$log" 2>&1 || { tail -5 "$log"; fail "debootstrap failed"; }
    rm -rf "$work"/base/var/cache/apt/archives/*.deb
    local container
    container=$(buildah from scratch)
    buildah add -q "$container" "$work/base" / >/dev/null
    buildah commit -q "$container" "localhost/$name/base" >/dev/null 2>&1
    buildah rm "$container" >/dev/null
    rm -rf "$work/base"
  fi
  printf '  base      %4d s  debootstrap, in place of python:3.12-slim-bookworm\n' $((SECONDS - start))
}
# `image NAME FILE CONTEXT TARGET`, from nothing each time: what comes out of a cache proves nothing.
image() {
  local start=$SECONDS
  # shellcheck disable=SC2086
  buildah bud --isolation chroot --format docker ${BUILD_OPTIONS:-} --build-arg "BASE_IMAGE=localhost/$name/base" \
    --build-arg "REVISION=$revision" --secret "id=ca,src=$certificates" \
    --target "$4" -t "localhost/$name/$1" -f "$2" "$3" >"$log" 2>&1 || { tail -20 "$log"; fail "$1 was not built"; }
  printf '  %-9s %4d s\n' "$1" $((SECONDS - start))
}
sizes() {
  local bytes all
  bytes=$(podman image inspect "localhost/$name/base" --format '{{.Size}}')
  for each in gateway evals vllm-cpu; do
    podman image exists "localhost/$name/$each" || continue
    all=$(podman image inspect "localhost/$name/$each" --format '{{.Size}}')
    printf '  %-9s %4d MB on its base of %d MB\n' "$each" $(((all - bytes) / 1000000)) $((bytes / 1000000))
  done
}

# `start NAME IMAGE OPTION… -- ARGUMENT…`: hardened as in compose.yaml.
start() {
  local who=$1 image=$2 options=()
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
  [ $# -gt 0 ] && shift
  [[ " ${options[*]} " == *" --tmpfs "* ]] || options+=(--tmpfs /tmp:size=256m,mode=1777)
  podman --runtime runc run -d --name "$name-$who" --hostname "$who" --network-alias "$who" \
    --read-only --read-only-tmpfs=false --cap-drop all \
    --security-opt no-new-privileges --pids-limit 512 --ulimit nofile=20000:20000 --ulimit nproc=4096:4096 \
    --health-interval disable --log-opt max-size=10mb "${options[@]}" "localhost/$name/$image" "$@" >"$log" 2>&1 \
    || { tail -5 "$log"; fail "$who did not start"; }
}
secret() { printf -- '-v=%s:/run/secrets/%s:ro ' "$work/secrets/$1" "$1"; }
start_postgres() {
  # shellcheck disable=SC2046
  start postgres postgres --network "$name-state" -v "$name-postgres:/var/lib/postgresql/data" \
    $(secret postgres_password) -e POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password
}
start_redis() {
  # shellcheck disable=SC2046
  start redis redis --network "$name-state" -v "$name-redis:/data" $(secret redis_conf) -- \
    /run/secrets/redis_conf --bind 0.0.0.0 --appendonly yes --dir /data
}
start_engine() {
  # The tests' engine, on the gateway's own image: a vLLM without a model.
  # shellcheck disable=SC2046
  start vllm gateway --network "$name-engines" -v "$PWD/tests/engine:/srv/tests/engine:ro" $(secret vllm_api_key) \
    -w /srv --entrypoint /bin/sh -- -c 'exec python -P tests/engine/simulator.py --host 0.0.0.0 --port 8000 --model faq \
      --step-s 0.1 --prompt-tokens-details --api-key "$(cat /run/secrets/vllm_api_key)"'
}
start_vllm() {
  # shellcheck disable=SC2046,SC2016
  start vllm vllm-cpu --network "$name-engines" -v "$PWD/datasets/orbit-faq/model:/models/faq:ro" $(secret vllm_api_key) \
    --tmpfs /tmp:size=2g,mode=1777,exec -e VLLM_CPU_KVCACHE_SPACE=1 -e VLLM_CPU_OMP_THREADS_BIND=nobind --shm-size 1g --entrypoint \
    '["/bin/sh", "-c", "VLLM_API_KEY=\"$(cat /run/secrets/vllm_api_key)\" exec python3 -m vllm.entrypoints.openai.api_server \"$@\"", "vllm"]' \
    -- --model=/models/faq --served-model-name=faq --host=0.0.0.0 --port=8000 \
    --dtype=bfloat16 --max-model-len=256 --max-num-seqs=64 --block-size=32 --enforce-eager --enable-prompt-tokens-details \
    --disable-uvicorn-access-log
}
start_gateway() {
  # shellcheck disable=SC2046
  start gateway gateway --network "$name-edge,$name-engines,$name-state" -p "127.0.0.1:$port:8080" \
    -v "$work/etc:/etc/tollgate:ro" -v "$name-gateway:/var/lib/tollgate" \
    $(secret postgres_password) $(secret redis_password) $(secret routing_key) $(secret vllm_api_key) \
    -e PGPASSWORD_FILE=/run/secrets/postgres_password --dns-opt timeout:1 --dns-opt attempts:1
}
stack_up() {
  podman network create "$name-edge" >/dev/null
  podman network create --internal "$name-engines" >/dev/null
  podman network create --internal "$name-state" >/dev/null
  start_postgres
  start_redis
  start_engine
  until_true 60 podman exec "$name-postgres" pg_isready -q -h 127.0.0.1 -U tollgate -d tollgate
  start_gateway
}
finish_earlier() {
  local left
  left=$(podman ps -aq --filter "name=^$name-")
  # shellcheck disable=SC2086
  [ -z "$left" ] || podman rm -f -t 0 $left >/dev/null 2>&1
  podman volume rm -f "$name-gateway" "$name-postgres" "$name-redis" "$name-evals" >/dev/null 2>&1 || true
  podman network rm -f "$name-edge" "$name-engines" "$name-state" >/dev/null 2>&1 || true
}
finish() {
  local code=$?
  [ "$code" = 0 ] || podman logs "$name-gateway" 2>&1 | tail -15 | sed 's/^/  gateway: /' || true
  if [ -z "${KEEP:-}" ]; then finish_earlier; rm -rf "$work"; else echo "kept: $work and the containers $name-*"; fi
  exit "$code"
}

in_gateway() { podman exec "$name-gateway" "$@"; }
# As another user of this machine, who has no more than the address and a key.
as_user() { setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH="$PATH" HOME=/ "$@"; }
body() { printf '{"model": "faq", "messages": [{"role": "user", "content": "%s"}], "stream": %s}' "$1" "${2:-false}"; }
# `ask KEY CONTENT [STREAM]`: prints the answer, and its status as the last line.
ask() {
  as_user curl -sS --noproxy '*' --max-time 60 -w '\n%{http_code}\n' -H "Authorization: Bearer $1" \
    -H 'Content-Type: application/json' -d "$(body "$2" "${3:-false}")" "$URL/v1/chat/completions"
}
status_of() { ask "$@" | tail -1; }
# Whether a question is answered; if not, what was said in place of an answer.
answered() {
  local told
  told=$(ask "$key" "a question")
  [ "${told##*$'\n'}" = 200 ] || { echo "$told"; return 1; }
}
# How many rows there are of users' requests: what a gateway asks engines for itself has rows too. No id may be there twice.
rows() {
  in_gateway gateway ledger --last 10000 --json --config /etc/tollgate/gateway.yaml | python3 -c '
import json, sys
ids = [row["request_id"] for row in json.load(sys.stdin) if row["team"] in ("support", "quality")]
print(len(ids) if len(ids) == len(set(ids)) else "a row twice")'
}
has_rows() { equal "$(rows)" "$1"; }
equal_status() { equal "$(status_of "$key" "a question")" "$1"; }
# Whether no row is on its way any more: the same count twice.
settled_rows() { local was; was=$(rows); sleep 2; equal "$(rows)" "$was"; }
healthy() { podman healthcheck run "$name-$1"; }
