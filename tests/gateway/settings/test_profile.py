"""Engine profiles: the terms of a step, and files of them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from gateway.contracts.errors import DocumentError, InputError
from gateway.settings import profile
from gateway.settings.profile import PROFILES, EngineProfile, StepTime


def test_a_step_is_the_sum_of_its_terms() -> None:
    step = StepTime(base_s=1.0, prefill_token_s=0.1, sequence_s=0.01, context_token_s=0.001)
    assert step.of(5, 4, 30) == pytest.approx(1.0 + 0.5 + 0.04 + 0.03)


@pytest.mark.parametrize("name", PROFILES)
def test_the_profiles_that_are_here_say_where_they_come_from(name: str) -> None:
    found = profile.find(name)
    assert found.name == name
    assert len(found.source) > 40


def test_the_large_one_writes_a_token_in_25_ms_at_light_load() -> None:
    """Thirty sequences with contexts of 7,200 tokens."""
    assert profile.H100X2.step.of(0, 30, 30 * 7200) == pytest.approx(0.025, rel=0.15)


def test_a_profile_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text(yaml.safe_dump(profile.A10G.model_dump(mode="json")))
    assert profile.find(str(path)) == profile.A10G


def test_a_profile_that_is_nowhere_is_told_with_those_that_are_here() -> None:
    with pytest.raises(
        InputError, match=r"no engine profile 'h200': expected a10g-llama-7b, h100-8b, h100x2-qwen3-32b"
    ):
        profile.find("h200")


def test_a_path_that_no_file_can_have_is_told_too() -> None:
    with pytest.raises(InputError, match=r"the engine profile 'n{200}' cannot be read: File name too long"):
        profile.find("n" * 5000)


def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    terms = "base_s: -1, prefill_token_s: 0, sequence_s: 0, context_token_s: 0"
    path.write_text(f"name: x\nkv_tokens: 100\nstep: {{{terms}}}\n")
    with pytest.raises(DocumentError, match=r"line 3, step\.base_s"):
        profile.find(str(path))


def test_a_step_takes_time() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        EngineProfile.model_validate(
            {
                "name": "x",
                "kv_tokens": 100,
                "step": {"base_s": 0, "prefill_token_s": 0, "sequence_s": 0, "context_token_s": 0},
            }
        )


def test_a_decoded_token_costs_as_much_more_than_a_read_one_as_the_roofline_of_an_8b_model_says() -> None:
    """By the batch, with contexts of 2,000 tokens: 215, 30, 6.8 and 4.3 times in bf16 on an H100, to within a fifth."""
    step = profile.DEFAULT.step
    for batch, times in ((1, 215), (8, 30), (64, 6.8), (256, 4.3)):
        assert step.of(0, batch, batch * 2000) / batch / step.prefill_token_s == pytest.approx(times, rel=0.2)


def test_the_default_is_one_of_those_that_are_here_and_was_not_measured() -> None:
    assert profile.find("h100-8b") == profile.DEFAULT
    assert profile.DEFAULT.source.endswith("Computed, not measured.")
    assert (profile.DEFAULT.fit, profile.DEFAULT.fitted_at) == (None, None)


def test_a_profile_keeps_of_what_it_holds_and_since_when(tmp_path: Path) -> None:
    changes = {"model": "faq", "gpu": "H100", "flags": {"dtype": "bfloat16", "enforce-eager": True, "a": 8, "b": 0.5}}
    known = profile.H100.model_copy(update={**changes, "fitted_at": datetime(2026, 11, 25, 4, 0, tzinfo=UTC)})
    path = tmp_path / "engine.yaml"
    profile.save(known, path)
    found = profile.find(str(path))
    assert found == known
    assert found.flags["enforce-eager"] is True


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no/engine\.yaml' cannot be written: No such file"):
        profile.save(profile.H100, tmp_path / "no" / "engine.yaml")


def test_a_date_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        EngineProfile.model_validate({**profile.H100.model_dump(), "fitted_at": "2026-11-25T04:00:00"})
