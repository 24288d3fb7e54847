"""The simulator's engine, fitted to a real vLLM. A tiny model on two cores is noisy, so little is asked of the fit."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.settings import profile

pytestmark = pytest.mark.engine


def test_a_real_engine_becomes_a_profile(vllm: str, tmp_path: Path) -> None:
    out = tmp_path / "engine.yaml"
    sizes = [("--prompt-tokens", "32"), ("--prompt-tokens", "384"), ("--answer-tokens", "1"), ("--answer-tokens", "48")]
    sizes += [("--requests", "1"), ("--requests", "6"), ("--requests", "24")]
    options = [part for pair in sizes for part in pair]
    result = CliRunner().invoke(main, ["simulate", "fit", "--url", vllm, "--repeats", "3", "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    found = profile.find(str(out))
    assert "fitted to faq on vLLM 0." in found.source
    assert found.kv_tokens > 10_000
    assert found.step.base_s < 0.2
    assert found.step.prefill_token_s > 0
    assert found.fit is not None
    assert found.fit.windows == 12
    assert found.fit.mean_error < 0.8
    assert found.fit.ttft_error is not None
