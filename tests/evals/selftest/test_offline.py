import random
from datetime import UTC, datetime

import pytest

from evals.selftest.offline import Offline
from gateway.contracts.errors import InputError
from tests.drawing import often

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONINFERIOR = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.1}
FLOOR = {"metric": "exact", "owner": "product", "test": "absolute", "at_least": 0.6}


def values(seed: int, count: int = 250, flip: float = 0.08) -> dict[str, float]:
    """Most samples are always right or always wrong; some change from run to run."""
    steady, fresh = random.Random(0), random.Random(seed)
    return {f"s{i:03}": float((steady.random() < 0.8) != (fresh.random() < flip / 2)) for i in range(count)}


def selftest(make_evidence, make_gate, *metrics, **changed) -> Offline:
    one, other = make_evidence(values(1)), make_evidence(values(2), release="faq@1")
    gate = make_gate(one, *metrics, **changed)
    return Offline(gate, one, other, now=NOW, harness="test", cards={})


def test_a_sound_gate_passes_what_is_equal_and_not_what_is_worse_by_the_margin(make_evidence, make_gate) -> None:
    found = selftest(make_evidence, make_gate, NONINFERIOR | {"planned_sd": 0.35}, FLOOR)
    heard, count = [], often(60, thorough=600)
    tally = found.repeat(count, random.Random(1), lambda: heard.append(1))
    assert len(heard) == count
    seldom = 0.05 + 3 * (0.05 * 0.95 / count) ** 0.5
    assert tally.exit_code() == 0
    whole, margin, floor, worse, below = tally.rows()
    assert [row.repetitions for row in tally.rows()] == [count] * 5
    assert whole.rate("pass") > 0.9
    assert margin.rate("fail") <= seldom
    assert floor.rate("pass") > 0.9
    assert worse.rate("pass") <= seldom
    assert worse.rate("fail") > 0.8, "a regression of the margin is proven about as often as equality is"
    assert below.rate("pass") <= seldom
    assert (worse.drop, below.drop) == (0.1, pytest.approx(0.13, abs=0.06))
    assert tally.noise["exact"].sd == pytest.approx(0.31, abs=0.06)


def test_a_gate_without_power_is_found_out(make_evidence, make_gate) -> None:
    weak = selftest(make_evidence, make_gate, NONINFERIOR | {"margin": 0.03})
    assert weak.repeat(40, random.Random(1)).exit_code() == 2


def test_a_plan_that_is_refused_never_passes_and_says_why(make_evidence, make_gate) -> None:
    refused = selftest(make_evidence, make_gate, NONINFERIOR | {"planned_sd": 0.9})
    tally = refused.repeat(20, random.Random(1))
    assert tally.exit_code() == 2
    (reason,) = tally.rows()[0].reasons
    assert "planned power" in reason


def test_the_same_seed_gives_the_same_counts(make_evidence, make_gate) -> None:
    first, again, other = (
        [
            row.counts
            for row in selftest(make_evidence, make_gate, NONINFERIOR | {"margin": 0.05})
            .repeat(15, random.Random(seed))
            .rows()
        ]
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_a_run_that_cannot_carry_a_verdict_is_refused(make_evidence, make_gate) -> None:
    one = make_evidence(values(1), sealed=False)
    other = make_evidence(values(2), release="faq@1")
    with pytest.raises(InputError, match="cannot carry a verdict: candidate: the run is unfinished"):
        Offline(make_gate(one, NONINFERIOR), one, other, now=NOW, harness="test", cards={})


def test_a_margin_above_the_score_cannot_be_planted(make_evidence, make_gate) -> None:
    low = {key: value * 0.05 for key, value in values(1).items()}
    one, other = make_evidence(low), make_evidence(low, release="faq@1")
    found = Offline(make_gate(one, NONINFERIOR), one, other, now=NOW, harness="test", cards={})
    assert found.unplanted == ("exact",)
    assert [row.truth for row in found.repeat(3, random.Random(1)).rows()] == ["equal", "equal"]


def test_a_gate_of_floors_needs_no_baseline(make_evidence, make_gate) -> None:
    one = make_evidence(values(1))
    found = Offline(make_gate(one, FLOOR | {"at_least": 0.5}), one, None, now=NOW, harness="test", cards={})
    whole, floor, below = found.repeat(50, random.Random(1)).rows()
    assert (whole.rate("pass"), floor.rate("pass")) == (1.0, 1.0)
    assert below.rate("pass") <= 0.05 + 3 * 0.031
    assert found.shape == (250, 250)
