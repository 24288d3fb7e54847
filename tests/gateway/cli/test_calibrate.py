"""`gateway costs calibrate`: a profile that says what it holds for, and a poor fit that is not written."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli.calibrate import calibrate
from gateway.contracts.errors import InputError
from gateway.settings import profile
from tests.gateway.modelled import STEP, Modelled, looks
from tests.gateway.servers import beside

MODEL = ("--model", "faq")
AS_BELOW_MAIN: Any = {"help_option_names": ["-h", "--help"]}
"""Of its context: commands keep the help option of whoever calls them first."""


def run(out: Path, *options: str) -> Result:
    return CliRunner().invoke(calibrate, ["--gpu", "H100-SXM-80GB", "--out", str(out), *options], **AS_BELOW_MAIN)


def saved(folder: Path, noise_s: float = 0.0) -> str:
    path = folder / "pages.txt"
    path.write_text(looks(noise_s))
    return str(path)


def test_a_profile_says_of_what_it_holds_how_well_and_since_when(tmp_path: Path) -> None:
    out = tmp_path / "h100.yaml"
    flags = ("--flag", "kv-cache-dtype=fp8", "--flag", "--enforce-eager", "--flag", "gpu-memory-utilization=0.85")
    sizes = ("--max-num-batched-tokens", "4096", "--gpus", "2")
    result = run(out, "--pages", saved(tmp_path), *MODEL, *flags, *sizes)
    assert result.exit_code == 0, result.output
    found = profile.find(str(out))
    assert (found.name, found.model, found.gpu, found.gpus) == ("faq on H100-SXM-80GB", "faq", "H100-SXM-80GB", 2)
    assert found.flags == {
        "max-num-seqs": 256,
        "max-num-batched-tokens": 4096,
        "kv-cache-dtype": "fp8",
        "enforce-eager": True,
        "gpu-memory-utilization": 0.85,
    }
    assert found.max_num_batched_tokens == 4096
    assert found.step.base_s == pytest.approx(STEP.base_s, rel=0.2)
    assert found.fit is not None
    assert found.fit.windows == 59
    assert found.fitted_at is not None
    assert timedelta(0) <= datetime.now(UTC) - found.fitted_at < timedelta(minutes=5)
    assert "59 windows: R² 0." in result.output
    assert f"{out}: the cost weights of faq on H100-SXM-80GB" in result.output


def test_a_poor_fit_is_told_and_not_written(tmp_path: Path) -> None:
    out = tmp_path / "poor.yaml"
    result = run(out, "--pages", saved(tmp_path, noise_s=0.5), *MODEL)
    assert isinstance(result.exception, InputError)
    assert re.search(r"the fit is poor: R² -?\d+\.\d{3} where each window is told by a fit", str(result.exception))
    assert not out.exists()


def test_a_poor_fit_is_written_when_it_is_forced_and_still_told(tmp_path: Path) -> None:
    out = tmp_path / "poor.yaml"
    result = run(out, "--pages", saved(tmp_path, noise_s=0.5), *MODEL, "--force")
    assert result.exit_code == 0, result.output
    assert "the fit is poor" in result.stderr
    found = profile.find(str(out))
    assert found.fit is not None
    assert found.fit.cross_validated_r2 < 0.8


def test_how_good_a_fit_must_be_can_be_said(tmp_path: Path) -> None:
    assert run(tmp_path / "x.yaml", "--pages", saved(tmp_path, noise_s=0.5), *MODEL, "--least-r2", "-9").exit_code == 0
    refused = run(tmp_path / "y.yaml", "--pages", saved(tmp_path), *MODEL, "--least-r2", "1")
    assert "expected 1. No profile is written" in str(refused.exception)


def test_an_engine_is_asked(tmp_path: Path) -> None:
    with beside(Modelled().answer) as url:
        result = run(tmp_path / "x.yaml", url, "--prompt-tokens", "5000")
        idle = run(tmp_path / "x.yaml", url, "--watch", "1", "--every", "0.2")
    assert "no burst fits the model's context of 4096 tokens" in str(result.exception)
    assert "expected 6 windows with load or more, found 0" in str(idle.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name one of ENGINE_URL and --pages FILE"),
        (("http://h:1", "--pages", "x", *MODEL), "name one of ENGINE_URL and --pages FILE"),
        (("--pages", "x"), "name the model with --model"),
        (("http://h:1", "--flag", "max-num-seqs=8"), "give 'max-num-seqs' as the option --max-num-seqs"),
        (("http://h:1", "--flag", "dtype="), "expected a flag such as kv-cache-dtype=fp8, found 'dtype='"),
        (("http://h:1", "--flag", "=8"), "expected a flag such as kv-cache-dtype=fp8, found '=8'"),
    ],
)
def test_what_is_asked_wrongly_is_told(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    result = run(tmp_path / "x.yaml", *options)
    assert result.exit_code == 2
    assert message in result.output


def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    error: Any = run(tmp_path / "no" / "x.yaml", "http://127.0.0.1:1").exception
    assert isinstance(error, InputError)
    assert str(error).startswith(f"--out: '{tmp_path}/no/x.yaml' cannot be written: No such file or directory")


def test_an_address_that_is_none_is_told(tmp_path: Path) -> None:
    error: Any = run(tmp_path / "x.yaml", "h:1").exception
    assert isinstance(error, InputError)
    assert str(error).startswith("ENGINE_URL: expected a URL such as http://10.0.0.7:8000")
    assert isinstance(calibrate, click.Command)
