#!/usr/bin/env bash
# Makes the secrets that compose.yaml mounts, each once: what is there stays. Takes the folder; beside this file unless named.
# Only the folder's owner may enter it. The files in it can be read by all, since containers see them with the owner that
# they have here, and run as users of their own.
set -euo pipefail
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
make() {
  local file=$folder/$1
  [ -e "$file" ] && return
  printf '%s\n' "$2" >"$file.new"
  chmod 444 "$file.new"
  mv "$file.new" "$file"
  echo "made $file"
}
for name in postgres_password redis_password routing_key vllm_api_key grafana_password; do
  make "$name" "$(random)"
done
make redis_conf "requirepass $(cat "$folder/redis_password")"
# A virtual key of scope `evaluate` for the harness: `gateway keys create --scope evaluate` prints one to put here.
make evaluate_key "none-yet"
