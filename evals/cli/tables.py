"""Tables for people."""

from rich import box
from rich.markup import escape
from rich.table import Table

from evals.compare import Account, Measure
from evals.decision import Decision, Slice
from evals.report.markdown import asked, bounds, number

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow", "invalid": "magenta", "waived": "cyan"}


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house style; columns whose name starts with `>` hold figures."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    return made


def answer(word: str) -> str:
    """A verdict in its colour."""
    return f"[{_COLOURS.get(word, 'white')}]{word}[/]"


def decision_table(decision: Decision) -> Table:
    """One row for each metric of a gate."""
    made = table(
        "metric", "test", ">estimate", ">bounds", ">asks for", ">n", ">clusters", ">power", "verdict", "reason"
    )
    for result in decision.metrics:
        made.add_row(
            escape(result.metric),
            result.test,
            number(result.estimate),
            escape(bounds(result)),
            asked(result),
            str(result.samples),
            str(result.clusters),
            number(result.planned_power, 2),
            answer(result.verdict),
            escape(result.reason),
        )
    return made


def run_table(metrics: dict[str, Measure]) -> Table:
    """One row for each metric of a run."""
    made = table("metric", ">mean", ">95% interval", ">n", ">clusters", ">missing")
    for name, measure in metrics.items():
        interval = f"[{measure.lower:.4f}, {measure.upper:.4f}]"
        made.add_row(
            escape(name),
            number(measure.estimate),
            escape(interval),
            str(measure.samples),
            str(measure.clusters),
            str(measure.missing_candidate),
        )
    return made


def pair_table(metrics: dict[str, Measure]) -> Table:
    """One row for each metric of two runs."""
    made = table(
        "metric",
        ">baseline",
        ">candidate",
        ">difference",
        ">95% interval",
        ">n",
        ">fell",
        ">rose",
        ">sd",
        ">design effect",
    )
    for name, measure in metrics.items():
        noise = measure.spread
        made.add_row(
            escape(name),
            number(measure.baseline_score),
            number(measure.candidate_score),
            f"{measure.estimate:+.4f}",
            escape(f"[{measure.lower:+.4f}, {measure.upper:+.4f}]"),
            str(measure.samples),
            str(len(measure.flips.regressed)),
            str(len(measure.flips.improved)),
            number(noise.sd if noise else None, 3),
            number(noise.design_effect if noise else None, 2),
        )
    return made


def slice_table(rows: tuple[Slice, ...], what: str) -> Table:
    """Estimates by tag."""
    made = table("tag", "metric", f">{what}", ">n")
    for row in rows:
        made.add_row(escape(row.tag), escape(row.metric), number(row.estimate), str(row.samples))
    return made


def account_lines(account: Account) -> list[str]:
    """How the samples ended, tokens and cost, in two or three lines."""
    outcomes = ", ".join(f"{count} {name}" for name, count in account.outcomes.items())
    failures = ", ".join(f"{kind} {count}" for kind, count in sorted(account.failures.items()))
    tokens = f"{account.input_tokens} in ({account.cached_tokens} cached), {account.output_tokens} out"
    cost = "not reported" if account.cost is None else f"{account.cost:f}"
    if account.cost is not None and account.uncosted:
        cost += f" (without {account.uncosted} answers that carry none)"
    lines = [f"outcomes: {outcomes}" + (f" ({failures})" if failures else "")]
    if account.truncated:
        lines.append(f"truncated: {account.truncated} answers ended at max_tokens")
    return [*lines, f"tokens: {tokens}; cost: {cost}"]
