from datetime import timedelta
from decimal import Decimal

import pytest
from rich.console import Console

from evals.cli import judge_tables
from evals.judge_card import Figures, SliceFigures
from evals.judge_correct import Line
from evals.services import Bill
from tests.evals.labels_bench import NOW, card, figure


def text(table: object) -> str:
    console = Console(width=160, record=True, file=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_every_figure_that_is_there_has_a_row() -> None:
    shown = text(judge_tables.figure_table(card()))
    assert [line.split()[0] for line in shown.splitlines() if "0.95" in line and "interval" not in line] == [
        "tpr",
        "tnr",
        "kappa",
    ]
    whole = Figures(**dict.fromkeys(Figures.model_fields, figure(0.5)))
    assert all(name in text(judge_tables.figure_table(card(figures=whole))) for name in Figures.model_fields)


def test_a_slice_without_a_kind_says_so() -> None:
    rows = (SliceFigures(tag="[plans]", samples=9, tpr=figure(0.5, samples=9)),)
    (row,) = [line for line in text(judge_tables.slice_table(card(slices=rows))).splitlines() if "plans" in line]
    assert row.split() == ["[plans]", "9", "0.950", "of", "9", "-", "-"]


@pytest.mark.parametrize(("days", "expected"), [(0, "counts until 2027-02-10"), (80, "expired on 2027-02-10")])
def test_a_card_says_whether_it_counts(capsys: pytest.CaptureFixture[str], days: int, expected: str) -> None:
    bill = Bill(calls=3, attempts=4, cost=Decimal("0.5"), uncosted=1)
    judge_tables.print_card(card(), NOW + timedelta(days=days), bill)
    out = capsys.readouterr().out
    assert expected in out
    assert "asked: 3 questions in 4 attempts" in out
    assert "cost: 0.5 (without 1 of 4 answers, which name none)" in out


def test_an_estimate_that_cannot_be_made_shows_its_reason() -> None:
    lines = [Line("raw", 0.5, 0.4, 0.6), Line("PPI++", None, None, None, "too few")]
    shown = text(judge_tables.estimate_table(lines, 0.95))
    assert "[0.4000, 0.6000]" in shown
    assert "too few" in shown
