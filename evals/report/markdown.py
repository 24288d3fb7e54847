"""A decision as Markdown, for a pull request or a job summary.

What decides stands open: the verdict, the table, why a condition did not hold, and who answers for it. What is for
looking up (samples that changed, estimates by tag) is folded.
"""

from evals.decision import Decision
from gateway.contracts.verdict import ADMITTED, MetricResult

_MOST_IDS = 20
_MOST_SLICES = 40
_COLUMNS = (
    "metric",
    "owner",
    "tier",
    "test",
    "estimate",
    "bounds",
    "asks for",
    "n",
    "clusters",
    "missing",
    "planned power",
    "verdict",
)


def render(decision: Decision) -> str:
    """The whole document, with a final newline."""
    parts = [
        f"# {decision.answer}: {decision.release or 'no release'}",
        _sentence(decision),
        *[f"> {problem}" for problem in decision.problems],
        _metrics(decision),
        _reasons(decision),
        *[f"Note: {note}." for note in decision.notes],
        _folded("Samples whose score changed", "\n\n".join(_flips(label, decision) for label in decision.flips)),
        _folded("By tag, for information (no test was planned for these)", _slices(decision)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sentence(decision: Decision) -> str:
    against = f" against {decision.baseline}" if decision.baseline else ""
    counts = {word: sum(m.verdict == word for m in decision.metrics) for word in dict.fromkeys(_verdicts(decision))}
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    # Without conditions, and with problems of the whole run, only the reason says anything.
    text = _cell(decision.reason) if decision.problems or not told else f"{len(decision.metrics)} conditions, {told}"
    sentence = f"Gate `{decision.gate}`{against}: {text}."
    if decision.release_digest:
        sentence += f" Release digest `{decision.release_digest}`."
    if decision.verdict is not None and decision.answer in ADMITTED:
        sentence += f" The verdict counts until {decision.verdict.predicate.expires:%Y-%m-%d %H:%M} UTC."
    return sentence


def _verdicts(decision: Decision) -> list[str]:
    return [metric.verdict for metric in decision.metrics]


def _metrics(decision: Decision) -> str:
    if not decision.metrics:
        return ""
    head = "| " + " | ".join(_COLUMNS) + " |"
    return "\n".join([head, "|---" * len(_COLUMNS) + "|", *map(_row, decision.metrics)])


def _row(result: MetricResult) -> str:
    cells = [
        result.metric,
        result.owner,
        result.tier,
        result.test,
        estimate(result),
        bounds(result),
        asked(result),
        str(result.samples),
        str(result.clusters),
        f"{result.missing_candidate} + {result.missing_baseline}",
        number(result.planned_power, 2),
    ]
    return "| " + " | ".join(map(_cell, cells)) + f" | **{result.verdict}** |"


def _reasons(decision: Decision) -> str:
    return "\n".join(
        f"- **{result.verdict}** `{_cell(result.metric)}` ({result.test}{_of(result)}): {_cell(result.reason)}"
        for result in decision.metrics
        if tells(result)
    )


def tells(result: MetricResult) -> bool:
    """Whether the reason says more than the figures: why it did not pass, or what a count of failures is worth."""
    return result.verdict != "pass" or result.test == "max_failures"


def _of(result: MetricResult) -> str:
    return f", {_cell(result.owner)}" if result.owner else ""


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>" if text else ""


def number(value: float | None, digits: int = 4) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def bounds(result: MetricResult) -> str:
    """The two one-sided bounds."""
    if result.lower is None and result.upper is None:
        return "-"
    return f"[{number(result.lower)}, {number(result.upper)}]"


def asked(result: MetricResult) -> str:
    """What is asked of the bounds, or of the count."""
    if result.margin is not None:
        return f">= {-result.margin:g}"
    if result.max_ratio is not None:
        return f"<= {result.max_ratio:g}"
    if result.max_failures is not None:
        return f"<= {result.max_failures}"
    return "-" if result.at_least is None else f">= {result.at_least:g}"


def estimate(result: MetricResult) -> str:
    """The figure that is tested: a count where samples are counted, else the estimate."""
    return number(result.estimate) if result.failures is None else f"{result.failures} of {result.samples}"


def _flips(label: str, decision: Decision) -> str:
    flips = decision.flips[label]
    if not flips.regressed and not flips.improved:
        return f"No sample's `{label}` changed."
    lines = [f"`{label}`: {len(flips.regressed)} samples fell, {len(flips.improved)} rose."]
    for word, ids in (("Fell", flips.regressed), ("Rose", flips.improved)):
        if ids:
            more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
            lines.append(f"- {word}: " + ", ".join(f"`{_cell(i)}`" for i in ids[:_MOST_IDS]) + more)
    return "\n".join(lines)


def _slices(decision: Decision) -> str:
    if not decision.slices:
        return ""
    rows = [f"| {_cell(s.tag)} | {s.metric} | {number(s.estimate)} | {s.samples} |" for s in decision.slices]
    left = len(rows) - _MOST_SLICES
    more = [f"\n{left} more slices are not shown."] if left > 0 else []
    return "\n".join(["| tag | metric | estimate | n |", "|---|---|---|---|", *rows[:_MOST_SLICES], *more])


def _cell(text: str) -> str:
    """Text that cannot break out of a table cell or become markup."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("`", "'").replace("<", "&lt;").replace("\n", " ")
