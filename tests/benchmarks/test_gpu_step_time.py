"""The step time of a decoder on a GPU: what is measured, and what is made of it, without a GPU and without PyTorch."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import gpu_step_time
from benchmarks.gpu_step_time import KV_TOKENS, SHAPES, Load, Row, as_json, grid, markdown, profile, row, windows
from gateway.settings import profile as profiles
from gateway.settings.profile import StepTime
from gateway.simulation.fit import fit

STEP = StepTime(base_s=0.006, prefill_token_s=25e-6, sequence_s=15e-6, context_token_s=39e-9)
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def measured() -> list[Row]:
    """What a GPU of exactly these terms would show."""
    return [
        Row(each, STEP.of(each.prefill, each.batch, each.batch * each.context), 0.01) for each in grid(SHAPES["8b"])
    ]


def test_pytorch_is_not_needed_to_read_the_program() -> None:
    assert gpu_step_time.__name__ in sys.modules
    assert "benchmarks.gpu_decoder" not in sys.modules


def test_the_large_shape_is_an_8b_model() -> None:
    shape = SHAPES["8b"]
    assert shape.head == 128
    assert 7.9e9 < shape.parameters < 8.1e9


@pytest.mark.parametrize("name", SHAPES)
def test_the_loads_are_unlike_enough_for_four_terms(name: str) -> None:
    loads = grid(SHAPES[name])
    assert len(loads) == len(set(loads)) >= 8
    assert max(each.batch * each.context for each in loads) <= KV_TOKENS
    assert any(each.prefill and not each.batch for each in loads)
    assert any(each.prefill and each.batch for each in loads)
    step = [STEP.of(each.prefill, each.batch, each.batch * each.context) for each in loads]
    found = fit(windows([Row(each, value, 0.0) for each, value in zip(loads, step, strict=True)])).step
    assert found.model_dump() == pytest.approx(STEP.model_dump(), rel=1e-6)


def test_the_median_of_the_repeats_counts() -> None:
    assert row(Load(0, 1, 16), [4.0, 1.0, 2.0, 3.0, 90.0]) == Row(Load(0, 1, 16), 3.0, pytest.approx(2 / 3))


def test_the_tables_hold_the_terms_the_fit_and_every_step() -> None:
    rows = measured()
    rows[0] = rows[0]._replace(step_s=rows[0].step_s * 1.25)
    text = markdown(rows, fit(windows(measured())), "8,030,261,248 random weights")
    lines = text.splitlines()
    assert lines[0] == "8,030,261,248 random weights."
    assert "| base_s | 6,000 | " in text
    assert f"{len(rows)} loads: R² 1.0000, and 1.0000 where" in text
    assert "| 0 | 1 | 128 | 7.525 | 6.020 | -20.0% | 1.0% |" in lines
    assert sum(line.startswith(("| 0 |", "| 128 |", "| 512 |", "| 2048 |", "| 8192 |")) for line in lines) == len(rows)


def test_the_fit_becomes_a_profile_that_is_read_again(tmp_path: Path) -> None:
    found = profile("h100", fit(windows(measured())), "8e9 weights", "NVIDIA H100", NOW)
    path = tmp_path / "h100.yaml"
    profiles.save(found, path)
    assert profiles.find(str(path)) == found
    assert (found.gpu, found.fitted_at) == ("NVIDIA H100", NOW)
    assert found.step.base_s == pytest.approx(STEP.base_s)
    assert found.fit is not None
    assert found.fit.r2 == 1.0


def test_a_measurement_is_one_line() -> None:
    line = as_json(Row(Load(16, 4, 128), 0.5, 0.123456), "a GPU")
    assert "\n" not in line
    expected = {"prefill": 16, "batch": 4, "context": 128, "step_s": 0.5, "spread": 0.1235, "about": "a GPU"}
    assert json.loads(line) == expected
