"""When a pool's own GPUs cost less than the list, and what is not known stays unknown."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.contracts.prices import Price
from gateway.costs.break_even import (
    BreakEven,
    Mix,
    Observed,
    break_even,
    of_pool,
    peak_of_hours,
    peak_of_profile,
    per_million,
)
from gateway.settings.profile import A10G, H100X2, EngineProfile, StepTime
from gateway.simulation.engine import Engine
from gateway.simulation.jobs import Job

MIX = Mix(100, 200_000, 150_000, 30_000)
PRICE = Price(input=Decimal("0.20"), cached_input=Decimal("0.02"), output=Decimal("0.60"))
MONEY = st.decimals(min_value="0.01", max_value=1000, places=4)
PEAK = st.decimals(min_value=1000, max_value=10**10, places=0)
MIXES = st.builds(
    lambda requests, read, cached, written: Mix(
        requests, requests * read, requests * min(read, cached), requests * written
    ),
    st.integers(1, 1000),
    st.integers(1, 20_000),
    st.integers(0, 20_000),
    st.integers(1, 4000),
)


def _of(**changes: Any) -> BreakEven:
    known: dict[str, Any] = {
        "per_gpu_hour": Decimal("2.50"),
        "gpus": 1,
        "list_per_million": Decimal("0.60"),
        "peak": Decimal(9_000_000),
    }
    return break_even("observed", **{**known, **changes})


def test_the_reference() -> None:
    """2.50 / (0.60 · 9.0) = 46 %."""
    found = _of()
    assert found.utilisation == Decimal("0.462963")
    assert (found.reason, found.peak, found.list_per_million) == ("", 9_000_000, Decimal("0.60"))


def test_above_all_of_its_peak_it_never_pays() -> None:
    found = _of(list_per_million=Decimal("0.10"))
    assert found.utilisation == Decimal("2.777778")
    assert "never pays" in found.reason


@given(price=MONEY, listed=MONEY, peak=PEAK, gpus=st.integers(1, 16), more=MONEY)
def test_it_grows_with_what_gpus_cost_and_falls_with_what_they_give(
    price: Decimal, listed: Decimal, peak: Decimal, gpus: int, more: Decimal
) -> None:
    def of(**changes: Any) -> Decimal:
        known: dict[str, Any] = {"per_gpu_hour": price, "gpus": gpus, "list_per_million": listed, "peak": peak}
        found = break_even("profile", **{**known, **changes}).utilisation
        assert found is not None
        return found

    assert of(per_gpu_hour=price + more) >= of()
    assert of(gpus=gpus + 1) >= of()
    assert of(list_per_million=listed + more) <= of()
    assert of(peak=peak + 1000) <= of()
    assert abs(of(per_gpu_hour=2 * price) - 2 * of()) <= Decimal("0.000002")
    assert of(per_gpu_hour=2 * price, list_per_million=2 * listed) == of()


@pytest.mark.parametrize(
    ("name", "told"), [("per_gpu_hour", "usd_per_gpu_hour"), ("list_per_million", "no list price"), ("peak", "no hour")]
)
def test_what_is_not_known_is_none_with_a_reason(name: str, told: str) -> None:
    found = _of(**{name: None})
    assert found.utilisation is None
    assert told in found.reason


def test_every_reason_is_told() -> None:
    assert _of(per_gpu_hour=None, peak=None).reason.count(";") == 1
    free = _of(list_per_million=Decimal(0))
    assert (free.utilisation, "never pays" in free.reason) == (None, True)


def test_a_list_price_is_weighed_by_the_mix() -> None:
    expected = (50_000 * PRICE.input + 150_000 * Decimal("0.02") + 30_000 * PRICE.output) / 230_000
    assert per_million(PRICE, MIX) == expected
    assert per_million(Price(input=Decimal(3), output=Decimal(3)), MIX) == 3
    dear = PRICE.model_copy(update={"reasoning": Decimal(1)})
    assert per_million(dear, replace(MIX, reasoning_tokens=30_000)) == expected + Decimal("0.40") * 3 / 23
    assert per_million(None, MIX) is None
    assert per_million(PRICE, Mix(1, 0, 0, 0)) is None


def test_the_busiest_hour_counts_by_the_time_that_was_paid() -> None:
    whole, half = Observed(3_600_000_000, 100), Observed(1_800_000_000, 80)
    assert peak_of_hours([whole, half, Observed(0, 5), Observed(3_600_000_000, 0)]) == 160
    assert peak_of_hours([]) is None
    assert peak_of_hours([Observed(3_600_000_000, 0)]) is None


@given(mix=MIXES, profile=st.sampled_from([H100X2, A10G]))
def test_a_peak_is_within_every_bound_of_the_engine(mix: Mix, profile: EngineProfile) -> None:
    peak = peak_of_profile(profile, mix)
    assert peak is not None
    requests = float(peak) / 3600 / (mix.tokens / mix.requests)
    uncached, written = (mix.input_tokens - mix.cached_tokens) / mix.requests, mix.output_tokens / mix.requests
    # Prompts alone, or answers alone, cannot be faster than their own terms say.
    assert requests * (uncached * profile.step.prefill_token_s + written * profile.step.sequence_s) <= 1
    assert requests * written <= profile.max_num_seqs / profile.step.base_s * (1 + 1e-9)


@given(mix=MIXES, factor=st.floats(1.0, 4.0))
def test_more_room_and_faster_steps_never_give_less(mix: Mix, factor: float) -> None:
    def of(profile: EngineProfile) -> Decimal:
        peak = peak_of_profile(profile, mix)
        assert peak is not None
        return peak

    base = of(H100X2) - 1
    for name in ("kv_tokens", "max_num_seqs", "max_num_batched_tokens"):
        assert of(H100X2.model_copy(update={name: int(getattr(H100X2, name) * factor)})) >= base
    for name in ("base_s", "prefill_token_s", "sequence_s", "context_token_s"):
        step = H100X2.step.model_copy(update={name: getattr(H100X2.step, name) / factor})
        assert of(H100X2.model_copy(update={"step": step})) >= base


@given(mix=MIXES, times=st.integers(2, 50))
def test_it_is_a_matter_of_the_mix_and_not_of_how_many(mix: Mix, times: int) -> None:
    assume(mix.requests * times < 10**6)
    more = Mix(*(times * each for each in (mix.requests, mix.input_tokens, mix.cached_tokens, mix.output_tokens)))
    one, other = peak_of_profile(H100X2, mix), peak_of_profile(H100X2, more)
    assert one is not None
    assert other == pytest.approx(one, abs=1)


def test_what_is_no_mix_has_no_peak() -> None:
    for mix in (Mix(0, 0, 0, 0), Mix(3, 0, 0, 0), Mix(1, 100, 100, 0)):
        assert peak_of_profile(H100X2, mix) is None
    assert peak_of_profile(H100X2, Mix(1, 1000, 0, 0)) is not None, "embeddings are prompts alone"


def test_a_simulated_engine_that_is_never_short_of_work_gives_about_its_peak() -> None:
    profile = EngineProfile(
        name="small",
        kv_tokens=100_000,
        max_num_seqs=16,
        step=StepTime(base_s=0.02, prefill_token_s=5e-5, sequence_s=1e-4, context_token_s=1e-7),
    )
    engine, number, ended = Engine(profile), 2000, 0
    for _ in range(number):
        engine.submit(Job(400, 100), 0.0)
    while ended < number:
        ended += sum(job.finished_at is not None for job in engine.advance())
    measured = number * 500 / engine.busy_s * 3600
    peak = peak_of_profile(profile, Mix(1, 400, 0, 100))
    assert peak is not None
    assert measured == pytest.approx(float(peak), rel=0.03)


def test_a_pool_is_told_by_both_bases() -> None:
    hours = [Observed(3_600_000_000, 40_000_000)]
    profiled, observed = of_pool(
        per_gpu_hour=Decimal("2.50"), gpus=2, price=PRICE, mix=MIX, profile=H100X2, hours=hours
    )
    assert (profiled.basis, observed.basis) == ("profile", "observed")
    assert observed.peak == 40_000_000
    assert profiled.utilisation is not None
    assert observed.utilisation is not None
    assert profiled.utilisation < observed.utilisation, "what was observed is no more than the peak"
    profiled, observed = of_pool(
        per_gpu_hour=None, gpus=2, price=None, mix=replace(MIX, requests=0), profile=None, hours=[]
    )
    assert (profiled.utilisation, observed.utilisation) == (None, None)
    assert "`gateway simulate fit`" in profiled.reason
    assert "no hour" in observed.reason
