"""The first sentences of a report, for somebody who reads nothing else."""

from collections.abc import Sequence

from evals.report.view import Condition
from gateway.contracts.verdict import Answer

_HEADLINES: dict[Answer, str] = {
    "pass": "{} may be served",
    "waived": "{} may be served: somebody answers for what it did not show",
    "fail": "{} must not be served: it is proven worse than the gate allows",
    "inconclusive": "{} may not be served yet: the evidence does not suffice",
    "invalid": "No verdict on {}: the evidence cannot carry one",
}
_SPOKEN: dict[Answer, str] = {
    "pass": "holds",
    "waived": "is waived",
    "fail": "is proven broken",
    "inconclusive": "is not decided",
    "invalid": "cannot be judged",
}
_ORDER: tuple[Answer, ...] = ("invalid", "fail", "inconclusive", "waived", "pass")


def of_gate(answer: Answer, release: str | None) -> str:
    """What was decided, in one sentence."""
    return _HEADLINES[answer].format(release or "this run")


def of_comparison(candidate: str, baseline: str, conditions: Sequence[Condition]) -> str:
    """What two runs say, in one sentence: which metrics moved further than chance would move them."""
    worse = [row.label for row in conditions if row.upper is not None and row.upper < 0]
    better = [row.label for row in conditions if row.lower is not None and row.lower > 0]
    said = [f"worse in {', '.join(worse)}"] if worse else []
    said += [f"better in {', '.join(better)}"] if better else []
    found = " and ".join(said) or "no metric moved further than chance would move it"
    return f"{candidate} beside {baseline}: {found}"


def summary(conditions: Sequence[Condition]) -> str:
    """How many conditions of a gate hold, in one sentence."""
    if not conditions:
        return "No condition was tested."
    counts = {answer: sum(row.verdict == answer for row in conditions) for answer in _ORDER}
    if counts["pass"] == len(conditions):
        return f"All {len(conditions)} conditions hold." if len(conditions) > 1 else "Its one condition holds."
    parts = [f"{count} {_verb(answer, count)}" for answer, count in counts.items() if count]
    return f"Of {len(conditions)} condition{'s' * (len(conditions) > 1)}, {', '.join(parts)}."


def _verb(answer: Answer, count: int) -> str:
    spoken = _SPOKEN[answer]
    if count == 1:
        return spoken
    return "hold" if answer == "pass" else spoken.replace("is ", "are ", 1)


def plain(row: Condition) -> str:
    """One condition in a sentence without statistics; the reason, which follows it, is no part of it."""
    if row.failures is not None:
        what = "golden samples got worse" if row.test == "golden" else "samples failed"
        return f"{row.failures} {what}; asked for is {row.asked}."
    if row.estimate is None:
        return f"asked for is {row.asked}." if row.asked else ""
    if row.test == "ratio":
        return f"{row.estimate:.2f} times the baseline; asked for is {row.asked}."
    if not row.paired:
        return f"{row.estimate:.3f}; asked for is {row.asked}." if row.asked else f"{row.estimate:.3f}."
    moved = "unchanged" if row.estimate == 0 else f"{'down' if row.estimate < 0 else 'up'} by {abs(row.estimate):.3f}"
    scores = "" if None in (row.baseline, row.candidate) else f" (from {row.baseline:.3f} to {row.candidate:.3f})"
    return f"{moved}{scores}" + (f"; asked for is {row.asked}." if row.asked else ".")
