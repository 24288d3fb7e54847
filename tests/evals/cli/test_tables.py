from decimal import Decimal

import pytest
from rich.console import Console
from rich.table import Table

from evals.cli.tables import (
    account_lines,
    answer,
    decision_table,
    failure_lines,
    reason_lines,
    run_table,
    slice_table,
)
from evals.compare import Account, absolute
from evals.decision import Decision, Slice
from evals.lines import Record
from evals.schema import Failure
from gateway.contracts.verdict import MetricResult


def text(table: Table) -> list[list[str]]:
    console = Console(width=200, record=True, file=None)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines()]


def account(**changed: object) -> Account:
    values = {
        "outcomes": {"scored": 3, "system_error": 0, "harness_error": 1},
        "failures": {"timeout": 1},
        "truncated": 0,
        "input_tokens": 30,
        "output_tokens": 6,
        "cached_tokens": 8,
        "cost": Decimal("0.0000300"),
        "uncosted": 0,
    }
    return Account(**values | changed)


def test_a_metric_with_a_tag_is_no_markup() -> None:
    result = MetricResult(
        metric="exact[plans]",
        test="noninferior",
        verdict="pass",
        reason="[good]",
        owner="[ml]",
        estimate=0.0,
        lower=-0.01,
        upper=0.01,
        margin=0.05,
        alpha=0.05,
        samples=90,
        clusters=30,
        planned_power=0.912,
    )
    rows = text(decision_table(Decision("g", "pass", "r", (result,))))
    row = "exact[plans] [ml] critical noninferior 0.0000 [-0.0100, 0.0100] >= -0.05 90 30 0.91 pass"
    assert row.split() in rows


def test_only_what_did_not_pass_has_to_say_why() -> None:
    fixed = {"metric": "exact[golden]", "test": "golden", "alpha": 0.05, "samples": 4, "clusters": 4}
    good = MetricResult.model_validate(fixed | {"verdict": "pass", "reason": "fine"})
    bad = MetricResult.model_validate(
        fixed | {"verdict": "fail", "reason": "[3] fell", "failures": 3, "max_failures": 0}
    )
    decision = Decision("g", "fail", "r", (good, bad))
    console = Console(width=200)
    with console.capture() as capture:
        for line in reason_lines(decision):
            console.print(line)
    assert capture.get() == "fail exact[golden] (golden): [3] fell\n"
    row = "exact[golden] critical golden 3 of 4 - <= 0 4 4 - fail"
    assert row.split() in text(decision_table(decision))


def test_a_run_shows_mean_interval_and_what_is_missing(make_evidence) -> None:
    measure = absolute(make_evidence({"a": 1.0, "b": "missing"}), "exact", alpha=0.025)
    assert measure is not None
    (row,) = [line for line in text(run_table({"exact": measure})) if line[:1] == ["exact"]]
    assert row[1] == "0.5000"
    assert row[-3:] == ["2", "2", "1"]


def test_slices() -> None:
    assert ["plans", "exact", "0.5000", "4"] in text(slice_table((Slice("exact", "plans", 4, 0.5),), "mean"))


def test_costs_are_printed_to_the_last_digit() -> None:
    assert account_lines(account()) == [
        "outcomes: 3 scored, 0 system_error, 1 harness_error (timeout 1)",
        "tokens: 30 in (8 cached), 6 out; cost: 0.0000300",
    ]


def test_unknown_costs_are_not_zero() -> None:
    assert account_lines(account(cost=None))[-1].endswith("cost: not reported")
    assert "without 2 answers that carry none" in account_lines(account(uncosted=2))[-1]


def test_truncated_answers_are_mentioned() -> None:
    assert "truncated: 2 answers ended at max_tokens" in account_lines(account(truncated=2))


@pytest.mark.parametrize("word", ["pass", "fail", "inconclusive", "invalid", "waived"])
def test_each_verdict_has_a_colour_of_its_own(word: str) -> None:
    others = {"pass", "fail", "inconclusive", "invalid", "waived"} - {word}
    assert answer(word).split("]")[0] not in {answer(other).split("]")[0] for other in others}


def test_each_kind_of_failure_is_told_once_by_its_first_message() -> None:
    kinds = ["not_found", None, "limited", "not_found"]
    records = [
        Record(id=f"s{at}", digest="d", outcome="scored", failure=kind and Failure(kind, f"[b]no {at}"))
        for at, kind in enumerate(kinds)
    ]
    assert failure_lines(records) == ["limited, such as s2: [b]no 2", "not_found, such as s0: [b]no 0"]
