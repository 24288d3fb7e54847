"""A judge's card and corrected estimates, for people."""

from datetime import datetime

from rich.markup import escape
from rich.table import Table

from evals.cli import tables
from evals.cli.common import console
from evals.judge_card import Card, Figure, Figures
from evals.judge_correct import Line
from evals.report.markdown import number
from evals.services import Bill

_MEANINGS = {
    "tpr": "of what people passed, passed by the judge",
    "tnr": "of what people failed, failed by the judge",
    "accuracy": "verdicts that are the label",
    "kappa": "Cohen's, chance taken out",
    "alpha": "Krippendorff's, judge and label",
    "human_alpha": "Krippendorff's, people among themselves",
    "flip_rate": "votes that the order of the answers changed",
    "self_consistency": "pairs of votes on one answer that agree",
}


def figure_table(card: Card) -> Table:
    """One row for each figure of a card."""
    made = tables.table("figure", ">value", f">{card.confidence:.0%} interval", ">n", "meaning")
    for name in Figures.model_fields:
        figure: Figure | None = getattr(card.figures, name)
        if figure is not None:
            made.add_row(name, number(figure.value), _interval(figure), str(figure.samples), _MEANINGS[name])
    return made


def slice_table(card: Card) -> Table:
    """One row for each tag of a card."""
    made = tables.table("tag", ">n", ">tpr", ">tnr", ">accuracy")
    for row in card.slices:
        cells = [_short(figure) for figure in (row.tpr, row.tnr, row.accuracy)]
        made.add_row(escape(row.tag), str(row.samples), *cells)
    return made


def print_card(card: Card, now: datetime, bill: Bill | None = None) -> None:
    """Print a card, and what the measurement cost."""
    screen = console()
    screen.print(figure_table(card))
    if card.slices:
        screen.print(slice_table(card))
    labels, judge = card.labels, card.judge
    split = f", split {labels.split}" if labels.split else ""
    until = f"{'expired on' if card.expired(now) else 'counts until'} {card.expires:%Y-%m-%d %H:%M} UTC"
    lines = [
        f"judge: {card.metric} by {judge.model}, {judge.votes} votes, {judge.digest}",
        *(f"release: {release}" for release in judge.releases),
        f"labels: {labels.name}{split}, {labels.samples} samples in {labels.clusters} clusters, {labels.digest}",
        *([f"failures: {labels.failures} samples got no verdict; they count as wrong"] if labels.failures else []),
        f"{until}, made {card.created:%Y-%m-%d}",
    ]
    if bill is not None and bill.calls:
        tokens = f"{bill.input_tokens} tokens in, {bill.output_tokens} out"
        lines.append(f"asked: {bill.calls} questions in {bill.attempts} attempts; {tokens}; cost: {bill.money()}")
    for line in lines:
        screen.print(line, markup=False, soft_wrap=True)


def estimate_table(lines: list[Line], confidence: float) -> Table:
    """One row for each estimate."""
    made = tables.table("estimate", ">value", f">{confidence:.0%} interval", "note")
    for line in lines:
        interval = "-" if line.lower is None or line.upper is None else f"[{line.lower:.4f}, {line.upper:.4f}]"
        made.add_row(line.name, number(line.value), escape(interval), escape(line.note))
    return made


def _interval(figure: Figure) -> str:
    return escape(f"[{figure.lower:.4f}, {figure.upper:.4f}]")


def _short(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.value:.3f} of {figure.samples}"
