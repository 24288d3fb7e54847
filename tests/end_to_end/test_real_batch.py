"""A suite as a batch file through the real `run-batch` of vLLM, and back into a run log."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from evals.cli import main
from tests.end_to_end.conftest import ENV, MODEL, ROOT

pytestmark = pytest.mark.engine
FLAGS = ["--served-model-name=faq", "--dtype=bfloat16", "--max-model-len=512", "--block-size=32", "--enforce-eager"]


def test_a_batch_of_the_real_engine_is_scored(
    vllm_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = (ROOT / "datasets/orbit-faq/heldout.jsonl").read_text(encoding="utf-8").splitlines()[:24]
    too_long = {"id": "long", "input": "word " * 3000, "reference": "none"}
    Path("d.jsonl").write_text("\n".join([*asked, json.dumps(too_long)]) + "\n", encoding="utf-8")
    Path("suite.yaml").write_text(
        "suite: s\ndataset: d.jsonl\nparams: {temperature: 0, max_tokens: 48}\nscorers: [{name: exact}]\n"
    )
    written = CliRunner().invoke(main, ["batch", "write", "suite.yaml", "--model", "faq", "--out", "batch.jsonl"])
    assert written.exit_code == 0, written.output

    # `vllm run-batch` starts the same module, once vLLM is installed under its own name.
    module = ["-m", "vllm.entrypoints.launchers.run_batch", "-i", "batch.jsonl", "-o", "results.jsonl"]
    engine = [*module, "--model", str(MODEL), "--distributed-executor-backend=uni", *FLAGS]
    done = subprocess.run(
        [vllm_python, *engine], env=os.environ | ENV, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]

    command = ["batch", "read", "suite.yaml", "batch.jsonl", "results.jsonl", "--out", "a.jsonl", "--json"]
    read = CliRunner().invoke(main, command)
    assert read.exit_code == 0, read.output
    told = json.loads(read.output)
    assert told["outcomes"] == {"scored": 24, "system_error": 1, "harness_error": 0}
    assert told["failures"] == {"rejected": 1}
    assert told["metrics"]["exact"]["mean"] > 0.5
    assert told["engine_fingerprints"][0].startswith("vllm-")
