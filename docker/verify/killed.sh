# shellcheck shell=bash disable=SC2154,SC2016,SC2054
# Kills, restarts, new containers on old volumes.
kill_hard() { podman kill -s KILL "$name-$1" >/dev/null && until_true 10 stopped "$1"; }
stopped() { equal "$(podman inspect "$name-$1" --format '{{.State.Running}}')" false; }
again() { quiet podman start "$name-$1"; }
before=$(rows)

( ask "$key" "$(printf 'word %.0s' {1..40})" true >"$work/cut" 2>/dev/null || true ) &
cut=$!
until_true 20 grep -q data: "$work/cut"
kill_hard gateway
again gateway
wait "$cut" || true
check "the gateway, killed in the middle of a stream, comes back" until_true 60 healthy gateway
check "its key is still good" until_true 10 answered
check "the stream that it cut has a row, and only one" until_true 15 has_rows $((before + 2))

kill_hard postgres
check "without PostgreSQL requests go on" answered
kill_hard gateway
again postgres
until_true 60 podman exec "$name-postgres" pg_isready -q -h 127.0.0.1 -U tollgate -d tollgate
again gateway
check "PostgreSQL and the gateway, both killed, come back" until_true 60 healthy gateway
check "and the row that had nowhere to go is there" until_true 30 has_rows $((before + 3))

kill_hard redis
check "without Redis a budget that cannot be asked for refuses" until_true 15 equal_status 503
again redis
check "and is asked again once Redis is back" until_true 30 answered
now=$(rows)

kill_hard vllm
again vllm
check "the engine, killed, is found again" until_true 60 answered

until_true 10 settled_rows
now=$(rows)
quiet podman rm -f -t 0 "$name-gateway" "$name-postgres" "$name-redis" "$name-vllm"
start_postgres
start_redis
start_engine
until_true 60 podman exec "$name-postgres" pg_isready -q -h 127.0.0.1 -U tollgate -d tollgate
start_gateway
check "new containers on the old volumes get healthy" until_true 60 healthy gateway
check "the ledger is what it was" has_rows "$now"
check "and so is the key" until_true 30 answered

ask "$key" "$(printf 'word %.0s' {1..40})" true >"$work/drained" 2>/dev/null &
asking=$!
until_true 20 grep -q data: "$work/drained"
quiet podman stop -t 60 "$name-gateway"
wait "$asking" || true
check "a stream that runs when the gateway is stopped ends whole" grep -q 'data: \[DONE\]' "$work/drained"
check "and the gateway ends by itself, with exit code 0" equal \
  "$(podman inspect "$name-gateway" --format '{{.State.ExitCode}}')" 0
again gateway
until_true 60 healthy gateway
check "its row is there" until_true 10 has_rows $((now + 2))
