"""Gates, as people write them: frozen, unknown keys refused, every mistake named with its line.

A gate says what scores a release needs. One built in code may leave out the plan (`planned_sd`); one in a file may not.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from evals.config import Name
from evals.durations import Duration, span
from evals.judge_config import JudgeFloor
from gateway.contracts import canonical, documents
from gateway.contracts.release import Digest


class Design(documents.Frozen):
    """Error rates of a gate: `alpha` for each one-sided bound, and the least planned power."""

    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.05
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8


class MetricConfig(documents.Frozen):
    """One condition of a gate, on the whole data set or on the samples with one `tag`.

    `noninferior`: the candidate is not worse than the baseline by more than `margin`. `absolute`: the candidate's mean
    is `at_least` so much. Both in the metric's unit, [0, 1]. `planned_sd` is the standard deviation of one sample's
    difference that the plan assumes; take it from two runs of the same release, or from a pilot.
    """

    metric: str
    owner: str = ""
    tag: str | None = None
    test: Literal["noninferior", "absolute"]
    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    at_least: Annotated[float, Field(gt=0, le=1)] | None = None
    planned_sd: Annotated[float, Field(gt=0, le=1)] | None = None
    planned_design_effect: Annotated[float, Field(ge=1)] = 1.0

    @property
    def label(self) -> str:
        """The metric's name, with the tag when there is one: `exact[plans]`."""
        return f"{self.metric}[{self.tag}]" if self.tag else self.metric

    @model_validator(mode="after")
    def _complete(self) -> "MetricConfig":
        needed, foreign = ("margin", "at_least") if self.test == "noninferior" else ("at_least", "margin")
        if getattr(self, needed) is None:
            raise ValueError(f"missing key {needed!r}: test {self.test!r} needs it")
        if getattr(self, foreign) is not None:
            raise ValueError(f"{foreign!r} does not belong to test {self.test!r}")
        return self


class GateConfig(documents.Frozen):
    """What a release has to show. A gate without metrics would pass everything, and is refused.

    `cached`: whether answers from the harness's own cache count. Where they do, the verdict says how many there are.
    With a `split`, `dataset_sha256` is the digest of that split, and only runs of it count.
    """

    gate: Name
    suite: Name
    dataset: str | None = None
    dataset_sha256: Digest
    split: Name | None = None
    min_coverage: Annotated[float, Field(ge=0.5, le=1)] = 0.99
    min_clusters: Annotated[int, Field(ge=2)] = 20
    cached: Literal["refuse", "allow"] = "refuse"
    ttl: Duration = "14d"
    design: Design = Design()
    metrics: Annotated[tuple[MetricConfig, ...], Field(min_length=1)]
    judges: tuple[JudgeFloor, ...] = ()
    judges_unmeasured: Literal["refuse", "allow"] = "refuse"

    @field_validator("metrics")
    @classmethod
    def _distinct(cls, value: tuple[MetricConfig, ...]) -> tuple[MetricConfig, ...]:
        seen: set[tuple[str, str]] = set()
        for metric in value:
            if (metric.label, metric.test) in seen:
                raise ValueError(f"two conditions test {metric.label!r} for {metric.test!r}: keep one")
            seen.add((metric.label, metric.test))
        return value

    @field_validator("judges")
    @classmethod
    def _one_floor(cls, value: tuple[JudgeFloor, ...]) -> tuple[JudgeFloor, ...]:
        for metric, times in Counter(floor.metric for floor in value).items():
            if times > 1:
                raise ValueError(f"two entries are for the judge of {metric!r}: keep one")
        return value

    @property
    def lifetime(self) -> timedelta:
        """How long a verdict of this gate counts."""
        return span(self.ttl)

    @property
    def needs_baseline(self) -> bool:
        """Whether any metric compares with a baseline."""
        return any(metric.test == "noninferior" for metric in self.metrics)

    def digest(self) -> str:
        """sha256 over the canonical JSON of every field but paths; what not every gate has counts where it is set."""
        fields = self.model_dump(mode="json", exclude={"dataset": True, "judges": {"__all__": {"card"}}})
        if not self.judges:
            del fields["judges"]
        for name, default in (("judges_unmeasured", "refuse"), ("cached", "refuse"), ("split", None)):
            if fields[name] == default:
                del fields[name]
        return canonical.digest(fields)


def load_gate(path: Path) -> GateConfig:
    """Read a gate; every margin in it needs a plan. Raises DocumentError."""
    return documents.load(path, GateConfig, check=_unplanned)


def _unplanned(gate: GateConfig) -> Iterator[tuple[documents.Location, str]]:
    for position, metric in enumerate(gate.metrics):
        if metric.test == "noninferior" and metric.planned_sd is None:
            message = (
                "missing key 'planned_sd': a margin needs a plan; take the standard deviation of the paired difference "
                "from a pilot (`evals compare A B` prints it)"
            )
            yield ("metrics", position), message
