"""A decision as Markdown, for a pull request or a job summary."""

from evals.decision import Decision
from gateway.contracts.verdict import ADMITTED, MetricResult

_MOST_IDS = 20
_MOST_SLICES = 40


def render(decision: Decision) -> str:
    """The whole document, with a final newline."""
    parts = [
        f"# {decision.answer}: {decision.release or 'no release'}",
        _sentence(decision),
        *[f"> {problem}" for problem in decision.problems],
        *[f"Note: {note}." for note in decision.notes],
        _metrics(decision),
        *[_flips(label, decision) for label in decision.flips],
        _slices(decision),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sentence(decision: Decision) -> str:
    against = f" against {decision.baseline}" if decision.baseline else ""
    text = f"Gate `{decision.gate}`{against}: {_cell(decision.reason)}."
    if decision.release_digest:
        text += f" Release digest `{decision.release_digest}`."
    if decision.verdict is not None and decision.answer in ADMITTED:
        text += f" The verdict counts until {decision.verdict.predicate.expires:%Y-%m-%d %H:%M} UTC."
    return text


def _metrics(decision: Decision) -> str:
    if not decision.metrics:
        return ""
    head = "| metric | owner | test | estimate | bounds | asks for | n | clusters | missing | planned power | verdict |"
    owners = decision.owners or ("",) * len(decision.metrics)
    rows = [_row(result, owner) for result, owner in zip(decision.metrics, owners, strict=True)]
    return "\n".join([head, "|---" * 11 + "|", *rows])


def _row(result: MetricResult, owner: str) -> str:
    cells = [
        result.metric,
        owner,
        result.test,
        number(result.estimate),
        bounds(result),
        asked(result),
        str(result.samples),
        str(result.clusters),
        f"{result.missing_candidate} + {result.missing_baseline}",
        number(result.planned_power, 2),
        f"**{result.verdict}**: {result.reason}",
    ]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def number(value: float | None, digits: int = 4) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def bounds(result: MetricResult) -> str:
    """The two one-sided bounds."""
    return "-" if result.lower is None else f"[{number(result.lower)}, {number(result.upper)}]"


def asked(result: MetricResult) -> str:
    """What the lower bound is held against."""
    return f">= {-result.margin:g}" if result.margin is not None else f">= {result.at_least:g}"


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
    title = "By tag, for information (no test was planned for these):\n"
    return "\n".join([title, "| tag | metric | estimate | n |", "|---|---|---|---|", *rows[:_MOST_SLICES], *more])


def _cell(text: str) -> str:
    """Text that cannot break out of a table cell or become markup."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("`", "'").replace("<", "&lt;").replace("\n", " ")
