#!/usr/bin/env bash
# Every image of others here is pinned by its tag and its digest. This asks the registry what each tag points to today.
#
#   docker/pin.sh            says which have moved; exit code 1 when one has
#   docker/pin.sh --write    puts today's digests into the files
#
# Needs the network, and one of skopeo and docker (with buildx).
set -euo pipefail
cd "$(dirname "$0")"
mode=${1:-}
case $mode in "" | --write) ;; *) sed -n '2,8p' "$0" >&2; exit 2 ;; esac

digest() {
  if command -v skopeo >/dev/null; then
    skopeo inspect --raw "docker://$1" | sha256sum | sed 's/^\([0-9a-f]*\).*/sha256:\1/'
  elif docker buildx version >/dev/null 2>&1; then
    docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'
  else
    echo "missing: skopeo, or docker with buildx" >&2
    return 1
  fi
}
moved=0
files=(Dockerfile vllm-cpu.Dockerfile compose.yaml compose.gpu.yaml)
for pinned in $(grep -ohE '[a-z][a-z0-9./-]*:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}' "${files[@]}" | sort -u); do
  tag=${pinned%@*} was=${pinned#*@}
  now=$(digest "$tag")
  [[ $now =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "$tag: no digest, found ${now:-nothing}" >&2; exit 1; }
  if [ "$now" = "$was" ]; then
    echo "$tag  as pinned"
  else
    moved=1
    echo "$tag  $was -> $now"
    [ "$mode" = --write ] && sed -i "s|$tag@$was|$tag@$now|" "${files[@]}"
  fi
done
[ "$mode" = --write ] || exit "$moved"
