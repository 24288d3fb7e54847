from typing import Any

import pytest

from evals.report import headline
from evals.report.view import Condition


def row(**fields: Any) -> Condition:
    common: dict[str, Any] = {
        "label": "exact", "test": "noninferior", "verdict": "pass", "reason": "r", "owner": "", "tier": "critical",
        "estimate": None, "lower": None, "upper": None, "line": None, "asked": "", "lower_is_better": False,
        "baseline": None, "candidate": None, "samples": 50, "clusters": 40, "missing": (0, 0), "power": None,
    }  # fmt: skip
    return Condition(**common | fields)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("pass", "faq@2 may be served"),
        ("fail", "faq@2 must not be served: it is proven worse than the gate allows"),
        ("inconclusive", "faq@2 may not be served yet: the evidence does not suffice"),
        ("invalid", "No verdict on faq@2: the evidence cannot carry one"),
        ("waived", "faq@2 may be served: somebody answers for what it did not show"),
    ],
)
def test_each_verdict_is_a_sentence(answer: Any, said: str) -> None:
    assert headline.of_gate(answer, "faq@2") == said
    assert "this run" in headline.of_gate(answer, None)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([], "No condition was tested."),
        (["pass"], "Its one condition holds."),
        (["pass", "pass"], "All 2 conditions hold."),
        (["pass", "fail", "fail"], "Of 3 conditions, 2 are proven broken, 1 holds."),
        (["invalid", "inconclusive", "pass", "pass"], "Of 4 conditions, 1 cannot be judged, 1 is not decided, 2 hold."),
        (["waived"], "Of 1 condition, 1 is waived."),
    ],
)
def test_conditions_are_counted(verdicts: list[Any], said: str) -> None:
    assert headline.summary([row(verdict=verdict) for verdict in verdicts]) == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"estimate": -0.05, "baseline": 0.9, "candidate": 0.85, "asked": "enough"},
            "down by 0.050 (from 0.900 to 0.850); asked for is enough.",
        ),
        ({"estimate": 0.01}, "up by 0.010."),
        ({"estimate": 0.0, "asked": "enough"}, "unchanged; asked for is enough."),
        ({"test": "absolute", "estimate": 0.9, "asked": "at least 0.85"}, "0.900; asked for is at least 0.85."),
        (
            {"test": "ratio", "estimate": 1.234, "asked": "at most 1.1"},
            "1.23 times the baseline; asked for is at most 1.1.",
        ),
        ({"test": "max_failures", "failures": 3, "asked": "at most 0"}, "3 samples failed; asked for is at most 0."),
        ({"test": "golden", "failures": 1, "asked": "none"}, "1 golden samples got worse; asked for is none."),
        ({"asked": "at most 1.1", "reason": "no figure"}, "asked for is at most 1.1."),
        ({"reason": "no such metric"}, ""),
    ],
)
def test_a_condition_is_told_without_statistics(fields: dict[str, Any], said: str) -> None:
    assert headline.plain(row(**fields)) == said


def test_a_comparison_names_only_what_moved_further_than_chance() -> None:
    rows = [
        row(label="a", lower=-0.3, upper=-0.1),
        row(label="b", lower=0.1, upper=0.2),
        row(label="c", lower=-0.1, upper=0.1),
    ]
    assert headline.of_comparison("faq@2", "faq@1", rows) == "faq@2 beside faq@1: worse in a and better in b"
    assert "no metric moved" in headline.of_comparison("faq@2", "faq@1", rows[2:])
