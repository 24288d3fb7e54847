# shellcheck shell=bash disable=SC2154,SC2016,SC2054
# vLLM itself, with the demo's model, in the place of the tests' engine: as another user, with no right that it can do without.
quiet podman rm -f -t 0 "$name-vllm"
start_vllm
told() { ask "$key" "How expensive is the Free plan?" | grep -q "The Free plan costs 0 dollars per month."; }
check "vLLM gets healthy" until_true 300 healthy vllm
check "and answers through the published port what its model was taught" until_true 60 told
check "the process is nobody's" equal "$(podman exec "$name-vllm" id -u)" 10001
refuse "its root file system cannot be written" podman exec "$name-vllm" touch /opt/vllm/x
podman inspect "$name-vllm" >"$work/told"
check "its key is not in its container's configuration" equal "$(grep -cFf "$work/secrets/vllm_api_key" "$work/told")" 0
check "and is asked for" podman exec "$name-vllm" python3 -c '
from urllib.error import HTTPError
from urllib.request import urlopen
try:
    urlopen("http://127.0.0.1:8000/v1/models")
except HTTPError as error:
    assert error.code == 401
else:
    raise SystemExit("anybody may ask")'
