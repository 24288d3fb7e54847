"""One real vLLM for the whole run, warmed before anything is asked of it."""

import json
import os
import socket
import struct
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control_plane import engine

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".vllm/bin/python"
MODEL = ROOT / "datasets/orbit-faq/model"
FLAGS = [
    "--served-model-name=faq", "--dtype=bfloat16", "--max-model-len=512", "--max-num-seqs=64", "--block-size=32",
    "--enforce-eager", "--distributed-executor-backend=uni", "--enable-prompt-tokens-details",
    "--enable-auto-tool-choice", "--tool-call-parser=hermes", "--enable-lora", "--max-lora-rank=8",
    "--max-num-queued-reqs=64", "--enable-per-request-metrics",
]  # fmt: skip
ADAPTER, RANK = "invoices", 8
"""An adapter's name, and the rank of its matrices."""
ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an adapter."""
    return _adapter(tmp_path_factory.mktemp("adapters") / ADAPTER)


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """The Python that has vLLM's CPU build; without one, the test is skipped, and fails in CI."""
    if not any(PYTHON.parents[1].glob(".ready-*")):
        reason = "vLLM's CPU build is not in .vllm: `make test` installs it where it can be had"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return PYTHON


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory, adapter: Path, vllm_python: Path) -> Iterator[str]:
    """The URL of a real vLLM with the tiny model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("vllm")
    flags = [*FLAGS, "--lora-modules", f"{ADAPTER}={adapter}"]
    running = engine.start(vllm_python, str(MODEL), port=port, log=folder / "engine.log", flags=flags, env=ENV)
    try:
        running.wait_ready(300.0)
        for stream in (False, True):
            _ask(running.url, {"stream": stream})
        yield running.url
    finally:
        running.stop()


def _adapter(folder: Path) -> Path:
    """An adapter that changes nothing: its matrices are zero."""
    hidden = json.loads((MODEL / "config.json").read_text())["hidden_size"]
    tensors, data = {}, b""
    for name, shape in (("lora_A", [RANK, hidden]), ("lora_B", [hidden, RANK])):
        zeros = bytes(4 * RANK * hidden)
        at = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(zeros)]}
        tensors[f"base_model.model.model.layers.0.self_attn.q_proj.{name}.weight"] = at
        data += zeros
    head = json.dumps(tensors).encode()
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def _ask(url: str, fields: dict[str, object]) -> None:
    body = {"model": "faq", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, **fields}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        response.read()
