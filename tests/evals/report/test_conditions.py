from datetime import UTC, datetime
from typing import Any

import pytest

from evals import compare, summary
from evals.decision import Decision
from evals.gate import decide
from evals.report import conditions
from gateway.contracts.verdict import MetricResult

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NONINFERIOR = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.1}
ABSOLUTE = {"metric": "exact", "owner": "product", "test": "absolute", "at_least": 0.6}
VALUES = {f"s{i}": 1.0 for i in range(60)}


def result(**fields: Any) -> MetricResult:
    common = {"metric": "m", "verdict": "fail", "reason": "r", "alpha": 0.05, "samples": 50, "clusters": 40}
    return MetricResult(**common | fields)


def one(found: MetricResult) -> conditions.Condition:
    (row,) = conditions.of_decision(Decision("g", "fail", "r", (found,)))
    return row


def test_figures_are_those_of_the_decision(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(VALUES | {"s0": 0.0}), make_evidence(VALUES, release="faq@1")
    gate = make_gate(candidate, NONINFERIOR, ABSOLUTE)
    decision = decide(gate, candidate, baseline, now=NOW, harness="test")
    rows = conditions.of_decision(decision)
    assert [(row.owner, row.line) for row in rows] == [("ml", -0.1), ("product", 0.6)]
    for row, found in zip(rows, decision.metrics, strict=True):
        assert (row.estimate, row.lower, row.upper) == (found.estimate, found.lower, found.upper)
        assert (row.samples, row.clusters, row.verdict, row.reason) == (60, 60, found.verdict, found.reason)


@pytest.mark.parametrize(
    ("fields", "line", "asked", "down"),
    [
        ({"test": "noninferior", "margin": 0.02}, -0.02, "not worse than the baseline by more than 0.02", False),
        ({"test": "absolute", "at_least": 0.85}, 0.85, "at least 0.85", False),
        ({"test": "ratio", "max_ratio": 1.1}, 1.1, "at most 1.1 times the baseline", True),
        ({"test": "max_failures", "max_failures": 2, "failures": 3}, 0.04, "at most 2 failures", True),
        ({"test": "golden", "max_failures": 0, "failures": 1}, None, "at most 0 of the golden samples worse", True),
    ],
)
def test_each_test_asks_in_its_own_words(fields: dict[str, Any], line: float | None, asked: str, down: bool) -> None:
    row = one(result(**fields))
    assert (row.line, row.asked, row.lower_is_better, row.failures) == (line, asked, down, fields.get("failures"))


def test_an_owner_of_the_result_comes_before_the_gates() -> None:
    found = result(test="absolute", at_least=0.5, owner="safety", tier="supporting")
    assert [
        (row.owner, row.tier) for row in conditions.of_decision(Decision("g", "fail", "r", (found,), owners=("ml",)))
    ] == [("safety", "supporting")]


def test_measures_ask_for_nothing(make_evidence) -> None:
    (row,) = conditions.of_measures(summary.measure_all(make_evidence(VALUES)), paired=False)
    assert (row.label, row.verdict, row.line, row.asked, row.estimate, row.paired) == (
        "exact",
        None,
        None,
        "",
        1.0,
        False,
    )


def test_slices_stand_worst_first_with_the_intervals_of_their_samples(make_evidence) -> None:
    tags = {f"s{i}": ["even" if i % 2 == 0 else "odd", "all"] for i in range(60)}
    candidate = make_evidence(VALUES | {"s0": 0.0, "s2": 0.0}, tags=tags)
    baseline = make_evidence(VALUES, release="faq@1", tags=tags)
    rows, left_out = conditions.slices(candidate, baseline, ["exact"])
    assert [(row.tag, row.samples) for row in rows] == [("even", 30), ("all", 60), ("odd", 30)]
    direct = compare.paired(candidate, baseline, "exact", alpha=summary.TWO_SIDED, tag="even")
    assert direct is not None
    assert (rows[0].estimate, rows[0].lower, rows[0].upper) == (direct.estimate, direct.lower, direct.upper)
    assert left_out == 0


def test_the_smallest_of_very_many_slices_are_left_out_and_counted(make_evidence) -> None:
    tags = {f"s{i}": [f"user-{i}", "everyone"] for i in range(200)}
    run = make_evidence({f"s{i}": 1.0 for i in range(200)}, tags=tags)
    rows, left_out = conditions.slices(run, None, ["exact"])
    assert (len(rows), left_out) == (conditions.MOST_SLICES, 201 - conditions.MOST_SLICES)
    assert "everyone" in {row.tag for row in rows}
