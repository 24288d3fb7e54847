"""Tables for people."""

from collections.abc import Iterable, Mapping
from decimal import Context

from rich import box
from rich.markup import escape
from rich.table import Table

from evals.compare import Account, Measure
from evals.cross_check import CrossCheck
from evals.decision import Decision, Slice
from evals.lines import Record
from evals.report.markdown import asked, bounds, estimate, number, tells
from evals.resampling import Resampled
from evals.spending import Projection
from evals.summary import Group
from evals.variance import Split

_FOUR = Context(prec=4)
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
    """One row for each condition of a gate."""
    made = table(
        "metric", "owner", "tier", "test", ">estimate", ">bounds", ">asks for", ">n", ">clusters", ">power", "verdict"
    )
    for result in decision.metrics:
        made.add_row(
            escape(result.metric),
            escape(result.owner),
            result.tier,
            result.test,
            estimate(result),
            escape(bounds(result)),
            asked(result),
            str(result.samples),
            str(result.clusters),
            number(result.planned_power, 2),
            answer(result.verdict),
        )
    return made


def reason_lines(decision: Decision) -> list[str]:
    """Why each condition that did not pass did not, and what counted failures show; as markup."""
    return [
        f"{answer(result.verdict)} {escape(result.metric)} ({result.test}): {escape(result.reason)}"
        for result in decision.metrics
        if tells(result)
    ]


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


def resampled_line(name: str, drawn: Resampled) -> str:
    """A bootstrap interval, or why there is none."""
    about = f"{name}: bootstrap of {drawn.clusters} clusters, {drawn.resamples} resamples"
    if drawn.resamples == 0:
        exact = f"the exact 95% interval [{drawn.lower:+.4f}, {drawn.upper:+.4f}] (Clopper and Pearson)"
        return f"{name}: {drawn.caution}, a bootstrap would have no width; {exact}"
    if drawn.lower is None or drawn.upper is None:
        return f"{about}: uninformative, {drawn.caution}; the interval above holds all the same"
    caution = f" (do not trust it: {drawn.caution})" if drawn.caution else ""
    return f"{about}: 95% interval [{drawn.lower:+.4f}, {drawn.upper:+.4f}]{caution}"


def checked_line(check: CrossCheck) -> str:
    """What the standard tests say of a metric."""
    parts = [f"{check.metric}, {check.samples} samples with both scores"]
    if check.rates is not None:
        rates = [f"{arm} {rate:.4f} [{low:.4f}, {high:.4f}]" for arm, (rate, low, high) in check.rates.items()]
        parts.append("passed (Wilson): " + ", ".join(rates))
    if check.flips is not None:
        exact = "nothing flipped" if check.mcnemar is None else f"exact p {check.mcnemar:.4g}"
        parts.append(f"McNemar: {check.flips[0]} fell, {check.flips[1]} rose, {exact}")
    if check.t is not None:
        parts.append(
            f"t by cluster: {check.t.mean:+.4f} [{check.t.lower:+.4f}, {check.t.upper:+.4f}], p {check.t.p:.4g}"
        )
    if check.holm is not None:
        parts.append(f"p of {check.tested} metrics by Holm: {check.holm:.4g}")
    if check.noninferior is not None and check.equivalent is not None:
        parts.append(
            f"not worse by the margin: p {check.noninferior:.4g}; equal within it (TOST): p {check.equivalent:.4g}"
        )
    return "; ".join([*parts, *check.cautions])


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
    if account.from_cache:
        lines.append(f"cache: {account.from_cache} answers were not asked for: no latency and no cost in them")
    return [*lines, f"tokens: {tokens}; cost: {cost}"]


def failure_lines(records: Iterable[Record]) -> list[str]:
    """One message of each kind of failure: how many there are stands elsewhere."""
    first: dict[str, str] = {}
    for record in records:
        if record.failure is not None:
            first.setdefault(
                record.failure.kind, f"{record.failure.kind}, such as {record.id}: {record.failure.message}"
            )
    return [first[kind] for kind in sorted(first)]


def projected(found: Projection) -> str:
    """`about 1.204 [1.117, 1.291]`."""
    total, low, high = (f"{value.normalize(_FOUR):f}" for value in (found.total, found.low, found.high))
    return f"about {total} [{low}, {high}]"


def noise_line(name: str, split: Split) -> str:
    """Where the noise of a metric comes from, and what more of each would buy."""
    shares = split.shares()
    parts = [f"{share:.0%} {source}" for source, share in shares.items() if share is not None]
    advice = split.advice()
    buys = ", ".join(f"{SE_WITH[what]} {error:.4f}" for what, error in advice.items() if what != "now")
    return f"noise of {name}: {', '.join(parts)}; standard error {advice['now']:.4f}, {buys}"


SE_WITH = {"samples": "with twice the samples", "epochs": "twice the epochs", "votes": "twice the votes"}


def retried_line(name: str, groups: Mapping[str, Group]) -> str:
    """Scores of results that were asked for again beside the others."""
    words = {"first_try": "at the first try", "retried": "after retries (asked again, so drawn anew)"}
    return f"{name}: " + "; ".join(f"{group.mean:.4f} of {group.results} {words[key]}" for key, group in groups.items())
