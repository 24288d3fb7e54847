"""The means' verdicts themselves are in test_gate.py and test_gate_laws.py."""

import pytest

from evals.conditions import TESTS, means
from evals.conditions.base import Case
from evals.gate_config import MetricConfig
from evals.planning import plan

FLOOR = {"metric": "exact", "test": "absolute", "at_least": 0.5}


@pytest.fixture
def case(make_evidence, make_gate):
    run = make_evidence({f"s{i:02}": 1.0 for i in range(60)})
    other = make_evidence({f"s{i:02}": float(i > 2) for i in range(60)}, release="faq@1")
    gate = make_gate(run, FLOOR)

    def build(**keys):
        return Case(gate, MetricConfig.model_validate({"metric": "exact"} | keys), run, other)

    return build


def test_a_difference_or_a_mean_is_measured(case) -> None:
    assert means.measured(case(test="noninferior", margin=0.1)).estimate == pytest.approx(3 / 60)
    assert means.measured(case(test="absolute", at_least=0.5)).estimate == 1.0
    with pytest.raises(ValueError, match="no sample to measure"):
        means.measured(case(test="absolute", at_least=0.5, tag="nowhere"))


def test_the_figures_are_those_of_the_measure(case) -> None:
    one = case(test="noninferior", margin=0.2, planned_sd=0.3)
    measure = means.measured(one)
    planned = plan(one.gate, one.condition, one.shape())
    figures = means.shown(measure, planned, 7)
    assert (figures["lower"], figures["samples"], figures["samples_needed"]) == (measure.lower, 60, 7)
    assert figures["planned_power"] == planned.power
    assert means.test(one).result.lower == measure.lower


def test_only_a_difference_has_flips(case) -> None:
    found = means.test(case(test="noninferior", margin=0.2))
    assert found.flips is not None
    assert found.flips.improved == ("s00", "s01", "s02")
    assert means.test(case(test="absolute", at_least=0.5)).flips is None


def test_fewer_samples_than_asked_for_are_inconclusive(case) -> None:
    result = means.test(case(test="absolute", at_least=0.5, n_min=61)).result
    assert (result.verdict, "60 samples, the condition asks for 61" in result.reason) == ("inconclusive", True)


def test_every_test_has_its_module() -> None:
    assert set(TESTS) == {"noninferior", "absolute", "max_failures", "ratio", "golden"}
