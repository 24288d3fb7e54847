# shellcheck shell=bash disable=SC2154,SC2016,SC2054
# The stack at work: requests, networks, rights.
check "the gateway gets healthy" until_true 60 healthy gateway
check "every pool is ready" until_true 30 as_user curl -sSf --noproxy '*' "$URL/ready"
key=$(in_gateway gateway keys create --team support --config /etc/tollgate/gateway.yaml 2>/dev/null)
check "another user's request through the published port, its key a second old" until_true 10 answered
check "its stream ends whole" grep -q 'data: \[DONE\]' <(ask "$key" "one two three" true)
check "a wrong key is refused" equal "$(status_of tg-wrong "hello")" 401
check "both requests are in PostgreSQL" until_true 10 has_rows 2
check "the processes are nobody's" equal "$(in_gateway id -u)" 10001
refuse "its root file system cannot be written" in_gateway touch /etc/x
check "its volume can" in_gateway touch /var/lib/tollgate/written
check "it has no capability" in_gateway grep -q 'CapEff:.*0000000000000000' /proc/self/status

engine=$(podman inspect "$name-vllm" --format '{{(index .NetworkSettings.Networks "'"$name-engines"'").IPAddress}}')
reach() {
  podman --runtime runc run --rm --network "$1" --ulimit nofile=20000:20000 --ulimit nproc=4096:4096 --cap-drop all \
    --health-interval disable --entrypoint python "localhost/$name/gateway" \
    -c "import socket; socket.create_connection(('$2', 8000), 3)"
}
check "an engine is reached on its network" reach "$name-engines" "$engine"
check "by its name too" reach "$name-engines" vllm
refuse "and not from the edge" reach "$name-edge" "$engine"
refuse "by no name either" reach "$name-edge" vllm
refuse "and not from the database's" reach "$name-state" "$engine"
refuse "the engines' network leads nowhere else" podman exec "$name-vllm" \
  python -c "import socket; socket.create_connection(('$(podman inspect "$name-gateway" --format '{{(index .NetworkSettings.Networks "'"$name-edge"'").Gateway}}')', $port), 3)"
{ cat "$work"/secrets/*_password "$work/secrets/routing_key" "$work/secrets/vllm_api_key"; echo "$key"; } >"$work/known"
podman inspect "$name-gateway" "$name-postgres" "$name-redis" "$name-vllm" >"$work/told"
check "no secret is in a container's configuration" equal "$(grep -cFf "$work/known" "$work/told")" 0
for each in gateway postgres redis vllm; do podman logs "$name-$each" 2>&1; done >"$work/told"
check "no secret is in a log" equal "$(grep -cFf "$work/known" "$work/told") of $(grep -c "answers on" "$work/told")" "0 of 1"

evaluate=$(in_gateway gateway keys create --team quality --scope evaluate --config /etc/tollgate/gateway.yaml 2>/dev/null)
printf '%s\n' "$evaluate" >"$work/secrets/evaluate_key.new"
chmod 444 "$work/secrets/evaluate_key.new"
check "evals: a suite through the gateway, its key out of a file" podman --runtime runc run --rm --network "$name-edge" \
  --read-only --read-only-tmpfs=false --tmpfs /tmp --cap-drop all --security-opt no-new-privileges \
  --ulimit nofile=20000:20000 --ulimit nproc=4096:4096 --health-interval disable -e HOME=/tmp \
  -e TOLLGATE_API_KEY_FILE=/run/secrets/evaluate_key -v "$work/secrets/evaluate_key.new:/run/secrets/evaluate_key:ro" \
  -v "$PWD/configs:/configs:ro" -v "$PWD/datasets:/datasets:ro" -v "$name-evals:/var/lib/tollgate" "localhost/$name/evals" \
  run /configs/demo/suite.yaml --base-url http://gateway:8080/v1 --model faq@1 --limit 20 --quiet
check "and its twenty requests are rows too" until_true 10 has_rows 22
