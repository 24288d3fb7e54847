"""Fits: an engine whose terms are known is found again, and what cannot be told is not."""

from random import Random

import pytest

from gateway.contracts.errors import InputError
from gateway.simulation.engine import NEVER
from gateway.simulation.fit import TERMS, Burst, Window, checks, fit, measured, outside, passing, quality, ttft_error
from gateway.simulation.jobs import Job
from gateway.simulation.pages import Counters
from tests.gateway.modelled import BURSTS, PROFILE, STEP, Modelled

KNOWN = STEP.model_dump()


def _windows() -> list[Window]:
    model = Modelled()
    return [model.window(burst) for burst in BURSTS]


def test_the_terms_of_a_known_engine_are_found() -> None:
    found = fit(_windows())
    assert found.step.model_dump() == pytest.approx(KNOWN, rel=1e-6)
    assert (found.r2, found.cross_validated_r2) == pytest.approx((1.0, 1.0))
    assert found.mean_error == pytest.approx(0.0, abs=1e-9)


def test_each_term_says_what_it_is_worth() -> None:
    found = fit(_windows()).terms
    assert tuple(each.name for each in found) == TERMS
    assert sum(each.share for each in found) == pytest.approx(1.0)
    assert all(each.error_without > 0.001 for each in found)


def test_a_noisy_engine_is_found_nearly_and_the_fit_says_so() -> None:
    random = Random(1)
    windows = [each._replace(step_s=each.step_s * random.uniform(0.9, 1.1)) for each in _windows() * 4]
    found = fit(windows)
    assert found.step.base_s == pytest.approx(STEP.base_s, rel=0.1)
    assert found.step.prefill_token_s == pytest.approx(STEP.prefill_token_s, rel=0.15)
    assert 0.02 < found.mean_error < 0.08
    assert found.cross_validated_r2 < found.r2 < 1.0


def test_an_engine_of_another_kind_does_not_fit() -> None:
    random = Random(1)
    found = fit([each._replace(step_s=random.uniform(0.01, 0.1)) for each in _windows() * 2])
    assert found.r2 < 0.5
    assert found.mean_error > 0.2


def test_a_passing_look_finds_them_nearly() -> None:
    """The mean time between tokens is of the steps that decode, so a mixed load is told less exactly."""
    model, random = Modelled(), Random(2)
    looks = [model.counters()]
    for _ in range(60):
        many, prompt = random.choice((1, 2, 4, 8, 16, 32)), random.choice((32, 128, 512))
        usage = many * (prompt + 64) / PROFILE.kv_tokens
        model.serve([Job(prompt, 128) for _ in range(many)])
        looks[-1] = looks[-1]._replace(kv_usage=usage)
        looks.append(model.counters()._replace(kv_usage=usage))
    found = fit(passing(looks))
    assert found.step.base_s == pytest.approx(STEP.base_s, rel=0.15)
    assert found.r2 > 0.8


def test_windows_without_tokens_say_nothing() -> None:
    same = Modelled().counters()
    assert passing([same, same._replace(at=200.0)]) == []


def test_the_time_to_the_first_token_is_checked_and_was_not_fitted() -> None:
    found = checks(PROFILE, _windows())
    assert [each.burst for each in found] == BURSTS
    for each in found:
        assert each.fitted_step_s == pytest.approx(each.step_s)
        assert each.simulated_ttft_s == pytest.approx(each.ttft_s)
        assert each.simulated_itl_s == pytest.approx(each.itl_s)
    assert ttft_error(found) == pytest.approx(0.0, abs=1e-9)


def test_requests_that_come_apart_wait_less() -> None:
    together = Window(0.1, 1.0, 1.0, 1.0, 1.0, Burst(4, 512, 2))
    apart = together._replace(apart_s=0.02)
    first, second = checks(PROFILE, [together, apart])
    assert second.simulated_ttft_s < first.simulated_ttft_s


def test_what_is_not_known_has_no_error() -> None:
    assert ttft_error([]) is None
    assert checks(PROFILE, [Window(0.1, 1.0, 1.0, 1.0, 1.0)]) == []
    assert quality(fit(_windows()), None).ttft_error is None


def test_too_few_windows_are_refused() -> None:
    with pytest.raises(InputError, match="expected 6 windows with load or more, found 5"):
        fit(_windows()[:5])


def test_bursts_that_are_too_much_alike_are_refused() -> None:
    """With one length of answers, contexts go with prompts."""
    model = Modelled()
    windows = [model.window(burst) for burst in BURSTS if burst.output_tokens == 16]
    with pytest.raises(InputError, match="do not tell the terms apart"):
        fit(windows)


def test_windows_that_tell_nothing_of_a_step_itself_are_refused() -> None:
    with pytest.raises(InputError, match="what a step costs by itself"):
        fit([Window(0.001 * n, 100.0 * n, float(n % 3), float(n % 5), 1.0) for n in range(1, 16)])


def _pair(**changes: float) -> tuple[Counters, Counters]:
    model = Modelled()
    before = model.counters()
    model.window(Burst(2, 64, 8))
    return before, model.counters()._replace(**changes)


def test_a_burst_among_others_is_refused() -> None:
    before, after = _pair(ended=3.0)
    with pytest.raises(InputError, match="served others"):
        measured(before, after, Burst(2, 64, 8), 1.0, 0.0)


def test_a_burst_that_a_cache_answered_is_refused() -> None:
    before, after = _pair(computed=100.0)
    with pytest.raises(InputError, match="to compute 128 prompt tokens, and it counts 100"):
        measured(before, after, Burst(2, 64, 8), 1.0, 0.0)


def test_what_is_spent_outside_of_the_engine_is_taken_off() -> None:
    before, after = _pair()
    inside = (after.inside_s - before.inside_s) / 2
    assert outside(before, after, inside + 0.25) == pytest.approx(0.25)
    assert outside(before, after, inside / 2) == 0.0
    steps = after.steps - before.steps
    assert measured(before, after, Burst(2, 64, 8), 2.0, 0.5).step_s == pytest.approx(1.5 / steps)


def test_the_contexts_of_a_burst_are_those_of_its_steps() -> None:
    model = Modelled()
    model.window(Burst(3, 50, 10))
    assert Burst(3, 50, 10).context == 3 * sum(range(51, 60))
    assert model.engine.next_at == NEVER
