"""The conditions of a gate, as people write them: one metric's test, slices, golden samples, waivers.

**Tiers.** `critical` has to pass. `supporting` must not fail, inconclusive will do and is told. `advisory` is told and
decides nothing. What cannot be tested at all (a metric that the run does not have) is invalid in every tier.
"""

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, field_validator, model_validator

from gateway.contracts import documents
from gateway.contracts.verdict import Test, Tier

QUANTITIES: dict[str, str] = {
    "latency_mean": "seconds of an answer, on average",
    "latency_p50": "seconds within which half of the answers came",
    "latency_p95": "seconds within which 95 of 100 answers came",
    "latency_p99": "seconds within which 99 of 100 answers came",
    "cost_mean": "cost of an answer, on average",
    "cost_per_ok": "cost of all answers for each sample that passes",
    "output_tokens_mean": "tokens of an answer, on average",
}
"""What `test: ratio` compares: measured on the answers, lower is better."""

_NEEDS: dict[str, tuple[str, ...]] = {
    "noninferior": ("margin",),
    "absolute": ("at_least",),
    "max_failures": ("max_failures", "n_min"),
    "ratio": ("max_ratio",),
    "golden": ("tag", "max_regressed"),
}
_TAKES: dict[str, tuple[str, ...]] = {
    "noninferior": ("margin", "n_min", "max_rise"),
    "absolute": ("at_least", "n_min", "expected"),
    "max_failures": ("max_failures", "n_min", "below", "expected"),
    "ratio": ("max_ratio", "of", "below"),
    "golden": ("max_regressed", "at_least"),
}
MOST = 1_000_000_000
"""Of samples and clusters: no data set has more, and a verdict's canonical JSON holds no integer beyond 2**53."""
Effect = Annotated[float, Field(ge=1, allow_inf_nan=False)]
_OWN = tuple(sorted({key for keys in _TAKES.values() for key in keys}))


class MetricConfig(documents.Frozen):
    """One condition of a gate, on the whole data set or on the samples with one `tag`.

    - `noninferior`: the candidate is not worse than the baseline by more than `margin`. `planned_sd` is the standard
      deviation of one sample's difference that the plan assumes; take it from two runs of the same release, or from a
      pilot. `max_rise` has an improvement above it told as a finding: it often means a broken scorer.
    - `absolute`: the candidate's mean is `at_least` so much. `expected` is the mean at which it is planned.
    - `max_failures`: at most so many samples fail, of at least `n_min`. A sample fails when its score lies below
      `below` (default 1), or is missing. `expected` is the share of passing samples at which it is planned.
    - `ratio`: a quantity of the answers (`QUANTITIES`), divided by the baseline's, is at most `max_ratio`. For
      `cost_per_ok`, `of` names the score, and a sample passes from `below` on.

    Margins and scores are in the metric's unit, [0, 1]. With fewer than `n_min` samples a test is inconclusive.
    """

    metric: str
    owner: str = ""
    tier: Tier = "critical"
    tag: str | None = None
    test: Test
    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    at_least: Annotated[float, Field(gt=0, le=1)] | None = None
    planned_sd: Annotated[float, Field(gt=0, le=1)] | None = None
    planned_design_effect: Effect = 1.0
    expected: Annotated[float, Field(gt=0, le=1)] | None = None
    n_min: Annotated[int, Field(ge=1, le=MOST)] | None = None
    max_rise: Annotated[float, Field(gt=0, lt=1)] | None = None
    max_failures: Annotated[int, Field(ge=0, le=MOST)] | None = None
    below: Annotated[float, Field(gt=0, le=1)] | None = None
    max_ratio: Annotated[float, Field(gt=0, le=100)] | None = None
    of: str | None = None
    max_regressed: Annotated[int, Field(ge=0, le=MOST)] | None = None

    @property
    def label(self) -> str:
        """The metric's name, with the tag when there is one: `exact[plans]`."""
        return labelled(self.metric, self.tag)

    @property
    def passing(self) -> float:
        """The score from which on a sample passes, where samples are counted."""
        return 1.0 if self.below is None else self.below

    @property
    def compares(self) -> bool:
        """Whether it takes a baseline."""
        return self.test in ("noninferior", "ratio") or (self.test == "golden" and self.at_least is None)

    @property
    def score(self) -> str | None:
        """The score that it reads; None where it reads none."""
        return self.of if self.test == "ratio" else self.metric

    @model_validator(mode="after")
    def _complete(self) -> "MetricConfig":
        for needed in _NEEDS[self.test]:
            if getattr(self, needed) is None:
                raise ValueError(f"missing key {needed!r}: test {self.test!r} needs it")
        for foreign in _OWN:
            if foreign not in _TAKES[self.test] and getattr(self, foreign) is not None:
                raise ValueError(f"{foreign!r} does not belong to test {self.test!r}")
        if self.test == "ratio":
            self._quantity()
        return self

    def _quantity(self) -> None:
        if self.metric not in QUANTITIES:
            raise ValueError(f"expected a measured quantity ({', '.join(QUANTITIES)}), found {self.metric!r}")
        if (self.metric == "cost_per_ok") != (self.of is not None):
            raise ValueError(
                "`of` names the score that a passing sample has: cost_per_ok needs it, nothing else has it"
            )
        if self.below is not None and self.of is None:
            raise ValueError("`below` does not belong to a ratio without `of`")


def labelled(metric: str, tag: str | None) -> str:
    """How a condition is called."""
    return f"{metric}[{tag}]" if tag else metric


_EXACT = 1000
"""Up to so many samples a binomial tail is summed; above it Hoeffding's bound (1963) will do."""


def shows_something(failures: int, samples: int, alpha: float) -> bool:
    """Whether so few failures of so many samples prove a failure rate under one half, at confidence 1 - alpha."""
    if 2 * failures >= samples:
        return False
    if samples > _EXACT:
        return math.exp(-2.0 * samples * (0.5 - failures / samples) ** 2) <= alpha
    return math.fsum(math.comb(samples, k) for k in range(failures + 1)) <= alpha * 2.0**samples


class SliceConfig(documents.Frozen):
    """Non-inferiority on every slice: the samples of one tag, each tested on its own with a margin of its own.

    `tags` are tags, or beginnings of tags with a `*` behind them: `lang:*`, and `*` for all. One that no sample has is
    a mistake. A slice with fewer than `n_min` samples, or whose planned power is too low, is `inconclusive`, or with
    `else: note` only told. The plan of a slice takes `planned_sd` and `planned_design_effect` from here, or else from
    the metric's own condition.
    """

    tags: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    margin: Annotated[float, Field(gt=0, lt=1)]
    n_min: Annotated[int, Field(ge=2, le=MOST)]
    else_: Literal["inconclusive", "note"] = Field(default="inconclusive", alias="else")
    owner: str = ""
    tier: Tier = "critical"
    planned_sd: Annotated[float, Field(gt=0, le=1)] | None = None
    planned_design_effect: Effect | None = None

    @field_validator("tags")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for tag in value:
            if "*" in tag[:-1]:
                raise ValueError(f"expected a tag, or the beginning of tags and a `*` at the end, found {tag!r}")
        return value

    def matching(self, tags: Iterable[str]) -> tuple[list[str], list[str]]:
        """The tags that are meant, sorted, and the entries that no tag answers to."""
        known, found, unknown = set(tags), set[str](), list[str]()
        for entry in self.tags:
            hits = {tag for tag in known if _means(entry, tag)}
            found |= hits
            if not hits:
                unknown.append(entry)
        return sorted(found), unknown

    def means(self, label: str) -> bool:
        """Whether a label may be one of these slices."""
        name, bracket, tag = label.removesuffix("]").partition("[")
        return bool(bracket) and name in self.metrics and any(_means(entry, tag) for entry in self.tags)


def _means(entry: str, tag: str) -> bool:
    return tag.startswith(entry[:-1]) if entry.endswith("*") else tag == entry


class GoldenConfig(documents.Frozen):
    """Samples that may never regress, however good the mean is.

    A golden sample regresses when its score (the mean of its epochs) lies below the baseline's. A model that is asked
    several times may waver: with `at_least` a sample regresses only when its score lies below that, whatever the
    baseline did. Missing evidence counts as regressed. More than `max_regressed` of them is `fail`, with their ids.
    """

    metric: str
    tag: Annotated[str, Field(min_length=1)] = "golden"
    max_regressed: Annotated[int, Field(ge=0, le=MOST)] = 0
    at_least: Annotated[float, Field(gt=0, le=1)] | None = None
    owner: str = ""
    tier: Tier = "critical"

    def condition(self) -> MetricConfig:
        """As a condition like the others."""
        return MetricConfig(test="golden", **self.model_dump())


def _moment(value: Any) -> Any:
    """A date without a time is its first moment in UTC."""
    return datetime.combine(value, time(), UTC) if type(value) is date else value


class WaiverConfig(documents.Frozen):
    """Somebody answers for a condition that did not pass, until a day.

    `metric` is its label, such as `exact` or `exact[plans]`; `test` is needed where several have that label. A waiver
    takes `fail` and `inconclusive`, never `invalid`. `expires` is the first moment at which it no longer counts; a date
    alone is 00:00 UTC.
    """

    metric: str
    test: Test | None = None
    owner: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]
    expires: Annotated[AwareDatetime, BeforeValidator(_moment)]

    @field_validator("expires")
    @classmethod
    def _on_the_calendar(cls, value: datetime) -> datetime:
        """In UTC too, in which it is told and signed."""
        try:
            value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError(f"expected a moment between the years 1 and 9999 in UTC, found {value}") from error
        return value

    @field_validator("owner", "reason")
    @classmethod
    def _said(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it is blank: a waiver says who answers for what did not hold, and why")
        return value

    def takes(self, condition: MetricConfig) -> bool:
        """Whether it is about this condition."""
        return self.metric == condition.label and self.test in (None, condition.test)
