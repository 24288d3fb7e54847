"""What every importer gives: all samples that a tool was given, and every result that it has for them.

Nothing is left out here. A sample without a result is a result that is missing, and `imports` writes it down as one.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from evals.schema import Answer, Failure, Sample, Score
from gateway.contracts.errors import InputError

UNREAD = "(the other tool's files do not hold this sample)"
"""The input of a sample of which a tool keeps the number alone."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to take where a tool's files hold more than one run.

    `metrics`: these alone, empty for every one that can be taken. `tasks` are lm-eval's, `column` is promptfoo's pair
    of provider and prompt, from 1. `scales` are worst and best value by metric; under "" that of all others. `tag` and
    `cluster` are keys of what a tool keeps beside a sample.
    """

    metrics: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    column: int | None = None
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tag: tuple[str, ...] = ()
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One result as a tool gives it: raw values by metric, whatever they are. `failure` where it names an error."""

    id: str
    epoch: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)
    explanations: Mapping[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    answer: Answer | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Imported:
    """One run of one model, as another tool tells it.

    `samples` are all that the tool was given and took, also those without a result; `total` counts what its data set
    holds beyond a limit. `metrics` are the names that count, `left_out` the others with the reason. `settings` is what
    a score depends on beside the samples, as JSON values; `files` are what was read.
    """

    tool: str
    version: str
    suite: str
    dataset: str
    model: str
    files: tuple[Path, ...]
    samples: tuple[Sample, ...]
    results: tuple[Found, ...]
    metrics: tuple[str, ...]
    epochs: int = 1
    total: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    falling: frozenset[str] = frozenset()
    created: str = ""


class Reads(Protocol):
    """The one signature of an importer."""

    def __call__(self, path: Path, choice: Choice) -> Imported:
        """Read a tool's files. Raises InputError for files that are not its own, or hold several runs to choose of."""
        ...


_STATUS = re.compile(r"(?:status(?: code)?|error(?: code)?|HTTP(?:/[\d.]+)?)[:=\s]+([1-5]\d\d)\b", re.IGNORECASE)
_BY_STATUS = {401: "not_allowed", 403: "not_allowed", 404: "not_found", 405: "not_found", 408: "timeout"}
_BY_WORD = (
    ("InternalServerError", "server_error"),
    ("BadRequestError", "rejected"),
    ("RateLimit", "limited"),
    ("Timeout", "timeout"),
    ("timed out", "timeout"),
    ("AuthenticationError", "not_allowed"),
    ("PermissionDenied", "not_allowed"),
    ("NotFoundError", "not_found"),
    ("ConnectionError", "unreachable"),
    ("ECONNREFUSED", "unreachable"),
    ("ECONNRESET", "unreachable"),
    ("fetch failed", "unreachable"),
)
_MESSAGE_CHARACTERS = 300


def failure_of(message: str) -> Failure:
    """An error in another tool's words as one of our kinds. What it does not say clearly is missing evidence."""
    text = " ".join(message.split())[:_MESSAGE_CHARACTERS] or "an error without a message"
    found = _STATUS.search(message)
    if found:
        return Failure(_kind_of(int(found[1])), text)
    for word, kind in _BY_WORD:
        if word.lower() in message.lower():
            return Failure(kind, text)
    return Failure("not_reported", text)


def _kind_of(status: int) -> str:
    if status == 429:
        return "limited"
    if status >= 500:
        return "server_error"
    return _BY_STATUS.get(status, "rejected" if status >= 400 else "not_reported")


def value_in_range(value: float, metric: str, sample: str, scales: Mapping[str, tuple[float, float]]) -> float:
    """A finite value on its metric's scale, in [0, 1]. Raises InputError for one outside of it."""
    named = scales.get(metric, scales.get(""))
    worst, best = named or (0.0, 1.0)
    placed = (value - worst) / (best - worst)
    if 0.0 <= placed <= 1.0:
        return placed
    if named is None:
        raise InputError(
            f"metric {metric!r}, sample {sample!r}: expected a score in [0, 1], found {value:g}: name worst and best "
            f"with `--scale {metric}=WORST:BEST`, such as `--scale {metric}=0:100`, or take other metrics "
            "with --metric"
        )
    raise InputError(
        f"metric {metric!r}, sample {sample!r}: expected a score between {worst:g} and {best:g}, as --scale says, "
        f"found {value:g}: name the scale that the tool uses"
    )


def _float(value: float) -> float:
    """A number of JSON, which may be a whole one beyond all floats: that is infinity."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def scored(found: Found, metrics: Iterable[str], choice: Choice) -> tuple[dict[str, Score], Failure | None]:
    """Scores that can be had, and the first reason why one cannot. Raises InputError for one off its scale."""
    if found.failure is not None:
        return {}, found.failure
    scores: dict[str, Score] = {}
    failure: Failure | None = None
    for metric in metrics:
        value = found.values.get(metric)
        if isinstance(value, bool):
            placed = float(value)
        elif not isinstance(value, int | float):
            said = "no score" if value is None else f"no score but {value!r:.80}"
            failure = failure or Failure("not_measured", f"{metric}: the tool gave {said}")
            continue
        elif not math.isfinite(number := _float(value)):
            failure = failure or Failure("scorer_crashed", f"{metric}: the tool's score is {number}")
            continue
        else:
            placed = value_in_range(number, metric, found.id, choice.scales)
        scores[metric] = Score(placed, found.explanations.get(metric, ""))
    return scores, failure


def silent(answer: Answer | None) -> Failure | None:
    """The failure of an answer without a word, which the harness counts as an error of the system everywhere."""
    if answer is None or answer.text.strip() or answer.tool_calls:
        return None
    return Failure("empty_answer", f"neither text nor a tool call; finish_reason {answer.finish_reason!r}")


def chosen(wanted: tuple[str, ...], offered: Iterable[str], where: str) -> tuple[str, ...]:
    """The names that were asked for, or all of them. Raises InputError for one that is not there."""
    known = tuple(dict.fromkeys(offered))
    for name in wanted:
        if name not in known:
            raise InputError(f"{where} has no {name!r}: it has {', '.join(known) or 'none'}")
    return tuple(dict.fromkeys(wanted)) or known


def tags_of(facts: Mapping[str, Any], choice: Choice, sample: str) -> tuple[list[str], str | None]:
    """Tags (`key=value`) and cluster of a sample, from what the tool keeps beside it. Raises InputError."""
    for key in (*choice.tag, *((choice.cluster,) if choice.cluster else ())):
        if key not in facts:
            known = ", ".join(sorted(map(str, facts))) or "none"
            raise InputError(f"sample {sample!r} has no {key!r} beside it: the keys are {known}")
    tags = [f"{key}={facts[key]}" for key in choice.tag]
    return tags, f"{choice.cluster}={facts[choice.cluster]}" if choice.cluster else None
