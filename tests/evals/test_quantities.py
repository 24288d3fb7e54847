import pytest

from evals.quantities import FAILED, LEVELS, Asked, Taken, latency, paired
from evals.schema import Answer


def both(make_evidence, ours, theirs):
    one, two = make_evidence(ours), make_evidence(theirs, release="faq@1")
    return [(one.units[key], two.units[key]) for key in sorted(one.units)]


def test_what_answers_took(make_evidence) -> None:
    units = both(make_evidence, {"a": 1.0, "b": 0.0}, {"a": 1.0, "b": 1.0})
    found = {name: paired(Asked(name), units).pairs[0].candidate for name in ("latency_p50", "cost_mean")}
    assert found == {"latency_p50": (Taken(0.1),), "cost_mean": (Taken(0.001),)}
    assert paired(Asked("output_tokens_mean"), units).pairs[0].baseline == (Taken(5.0),)


def test_a_failed_answer_is_infinitely_slow_and_what_it_cost_is_what_it_cost(make_evidence) -> None:
    units = both(make_evidence, {"a": "system", "b": 1.0}, {"a": 1.0, "b": 1.0})
    slow = paired(Asked("latency_mean"), units)
    assert (slow.pairs[0].candidate, slow.failed(), slow.unknown()) == ((Taken(FAILED),), 1, (0, 0))
    assert paired(Asked("cost_mean"), units).pairs[0].candidate == (Taken(0.001),)


def test_what_is_missing_is_unknown(make_evidence) -> None:
    units = both(make_evidence, {"a": "missing", "b": 1.0}, {"a": 1.0, "b": "missing"})
    for name in ("latency_p50", "cost_mean", "output_tokens_mean"):
        assert paired(Asked(name), units).unknown() == (1, 1)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1.1e9, 1e300])
def test_what_no_clock_measures_is_no_latency(seconds: float) -> None:
    assert latency(Answer(latency_s=seconds)) is None
    assert latency(Answer(latency_s=1e9)) == 1e9


def test_a_sample_that_the_baseline_failed_is_left_out_on_both_sides(make_evidence) -> None:
    found = paired(Asked("cost_mean"), both(make_evidence, {"a": 1.0, "b": "system"}, {"a": "system", "b": 1.0}))
    assert (len(found.pairs), found.left_out) == (1, 1)
    assert found.pairs[0].cluster == "sample b"


def test_a_sample_passes_by_its_score_and_an_unknown_one_counts_against_the_candidate(make_evidence) -> None:
    asked = Asked("cost_per_ok", "exact", 0.5)
    units = both(make_evidence, {"a": 0.5, "b": 0.4, "c": "missing"}, {"a": 0.0, "b": 1.0, "c": "missing"})
    found = paired(asked, units).pairs
    assert [[taken.ok for taken in pair.candidate] for pair in found] == [[True], [False], [False]]
    assert [[taken.ok for taken in pair.baseline] for pair in found] == [[False], [True], [True]]


def test_every_epoch_is_an_answer_and_one_without_a_record_is_unknown(make_evidence) -> None:
    units = both(make_evidence, {"a": [1.0, 0.0]}, {"a": [1.0, 1.0]})
    assert len(paired(Asked("cost_mean"), units).pairs[0].candidate) == 2
    assert set(LEVELS.values()) == {0.5, 0.95, 0.99}
