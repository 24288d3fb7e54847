"""Gates, as people write them: frozen, unknown keys refused, every mistake named with its line.

A gate says what a release needs. One built in code may leave out the plan (`planned_sd`); one in a file may not.

    metrics:
      - {metric: exact, owner: ml, test: noninferior, margin: 0.03, planned_sd: 0.33}
      - {metric: refusal, owner: safety, test: max_failures, max_failures: 0, n_min: 300}
      - {metric: latency_p95, owner: sre, tier: supporting, test: ratio, max_ratio: 1.10}
    slices: {tags: ["lang:*"], metrics: [exact], margin: 0.08, n_min: 60, else: inconclusive}
    golden: {metric: exact, tag: golden, max_regressed: 0, owner: sales}
    waivers:
      - {metric: latency_p95, owner: sre, reason: "new GPUs arrive in June", expires: 2027-06-30}

`inconclusive` blocks a release. There is no switch that lets it pass: that would be a green light for whoever brings
too little evidence. Somebody may answer for it in their name and for a time, with a waiver.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from evals.condition_config import (
    MOST,
    GoldenConfig,
    MetricConfig,
    SliceConfig,
    WaiverConfig,
    labelled,
    shows_something,
)
from evals.config import Name
from evals.durations import Duration, span
from evals.judge_config import JudgeFloor
from gateway.contracts import canonical, documents
from gateway.contracts.release import Digest

__all__ = ["Design", "GateConfig", "GoldenConfig", "MetricConfig", "SliceConfig", "WaiverConfig", "load_gate"]


class Design(documents.Frozen):
    """Error rates of a gate: `alpha` for each one-sided bound, and the least planned power."""

    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.05
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8


def _listed(value: Any) -> Any:
    """One entry may stand without a list around it."""
    return [value] if isinstance(value, dict) else value


class GateConfig(documents.Frozen):
    """What a release has to show. A gate without a critical metric would pass everything, and is refused.

    `cached`: whether answers from the harness's own cache count. Where they do, the verdict says how many there are.
    With a `split`, `dataset_sha256` is the digest of that split, and only runs of it count. `max_retried` is the share
    of results that may have taken more than one attempt: what is asked again is drawn anew. `baseline: same_run` takes
    a baseline only from the candidate's own run, asked at the same time: a number from last month is no comparison.
    """

    gate: Name
    suite: Name
    dataset: str | None = None
    dataset_sha256: Digest
    split: Name | None = None
    min_coverage: Annotated[float, Field(ge=0.5, le=1)] = 0.99
    max_retried: Annotated[float, Field(ge=0, lt=1)] | None = None
    min_clusters: Annotated[int, Field(ge=2, le=MOST)] = 20
    baseline: Literal["any", "same_run"] = "any"
    cached: Literal["refuse", "allow"] = "refuse"
    ttl: Duration = "14d"
    design: Design = Design()
    metrics: Annotated[tuple[MetricConfig, ...], Field(min_length=1)]
    slices: Annotated[tuple[SliceConfig, ...], BeforeValidator(_listed)] = ()
    golden: Annotated[tuple[GoldenConfig, ...], BeforeValidator(_listed)] = ()
    waivers: tuple[WaiverConfig, ...] = ()
    judges: tuple[JudgeFloor, ...] = ()
    judges_unmeasured: Literal["refuse", "allow"] = "refuse"

    @field_validator("metrics")
    @classmethod
    def _critical(cls, value: tuple[MetricConfig, ...]) -> tuple[MetricConfig, ...]:
        if any(metric.test == "golden" for metric in value):
            raise ValueError("golden samples have a key of their own: write `golden: {metric: ..., tag: ...}`")
        if all(metric.tier != "critical" for metric in value):
            raise ValueError("no metric is critical: a gate that nothing has to pass says nothing")
        return value

    @field_validator("judges")
    @classmethod
    def _one_floor(cls, value: tuple[JudgeFloor, ...]) -> tuple[JudgeFloor, ...]:
        for metric, times in Counter(floor.metric for floor in value).items():
            if times > 1:
                raise ValueError(f"two entries are for the judge of {metric!r}: keep one")
        return value

    @model_validator(mode="after")
    def _distinct(self) -> "GateConfig":
        written = [(metric.label, str(metric.test)) for metric in self.named()]
        named = [(labelled(m, tag), "noninferior") for s in self.slices for m in s.metrics for tag in s.tags]
        for (label, test), times in Counter(written + [one for one in named if "*" not in one[0]]).items():
            if times > 1:
                raise ValueError(f"two conditions test {label!r} for {test!r}: keep one")
        return self

    @model_validator(mode="after")
    def _telling(self) -> "GateConfig":
        for metric in self.metrics:
            if metric.max_failures is None or metric.n_min is None:
                continue
            if not shows_something(metric.max_failures, metric.n_min, self.design.alpha):
                raise ValueError(
                    f"{metric.label}: {metric.max_failures} failures of {metric.n_min} samples do not even show that "
                    "fewer than half of all answers fail: raise n_min (0 of 300 shows at most 1 %)"
                )
        return self

    @model_validator(mode="after")
    def _waivable(self) -> "GateConfig":
        for waiver in self.waivers:
            found = [m for m in self.named() if waiver.takes(m)]
            sliced = waiver.test in (None, "noninferior") and any(s.means(waiver.metric) for s in self.slices)
            if not found and not sliced:
                listed = ", ".join(dict.fromkeys(metric.label for metric in self.named()))
                raise ValueError(f"waiver of {waiver.metric!r}: no condition of the gate is called so; it has {listed}")
            if len(found) + sliced > 1:
                raise ValueError(f"waiver of {waiver.metric!r}: several conditions are called so: say which `test:`")
        return self

    @model_validator(mode="after")
    def _one_waiver(self) -> "GateConfig":
        for one, other in combinations(self.waivers, 2):
            if one.metric == other.metric and (one.test == other.test or None in (one.test, other.test)):
                raise ValueError(f"two waivers are of {one.metric!r}: keep one")
        return self

    @property
    def lifetime(self) -> timedelta:
        """How long a verdict of this gate counts."""
        return span(self.ttl)

    @property
    def needs_baseline(self) -> bool:
        """Whether any condition compares with a baseline."""
        return bool(self.slices) or any(metric.compares for metric in self.named())

    def named(self) -> tuple[MetricConfig, ...]:
        """The conditions that are known without the data set's tags: the metrics, then the golden samples."""
        return (*self.metrics, *(golden.condition() for golden in self.golden))

    def scores(self) -> tuple[str, ...]:
        """The scores that any condition reads, in the order of the file."""
        sliced = (name for entry in self.slices for name in entry.metrics)
        return tuple(dict.fromkeys([*(m.score for m in self.named() if m.score), *sliced]))

    def sliced(self, tags: Iterable[str]) -> list[tuple[SliceConfig, MetricConfig]]:
        """The condition of every slice that a data set with these tags has; entries that fit no tag give none.

        A tag that a metric, or an earlier entry, already tests with a margin is left to that one.
        """
        known = sorted(set(tags))
        taken = {metric.label for metric in self.metrics if metric.test == "noninferior"}
        found = []
        for entry in self.slices:
            for name in entry.metrics:
                for tag in entry.matching(known)[0]:
                    if labelled(name, tag) not in taken:
                        taken.add(labelled(name, tag))
                        found.append((entry, self._slice(entry, name, tag)))
        return found

    def _slice(self, entry: SliceConfig, name: str, tag: str) -> MetricConfig:
        planned = [m for m in self.metrics if m.metric == name and _is_plan(m)]
        effect = entry.planned_design_effect or (planned[0].planned_design_effect if planned else 1.0)
        return MetricConfig(
            metric=name,
            owner=entry.owner,
            tier=entry.tier,
            tag=tag,
            test="noninferior",
            margin=entry.margin,
            n_min=entry.n_min,
            planned_sd=entry.planned_sd or (planned[0].planned_sd if planned else None),
            planned_design_effect=effect,
        )

    def digest(self) -> str:
        """sha256 over the canonical JSON of every field but paths; what not every gate has counts where it is set."""
        fields = self.model_dump(mode="json", by_alias=True, exclude={"dataset": True, "judges": {"__all__": {"card"}}})
        for name, default in _UNSET.items():
            if fields[name] == default:
                del fields[name]
        for metric in fields["metrics"]:
            for name, default in _UNSET_IN_METRIC.items():
                if metric[name] == default:
                    del metric[name]
        return canonical.digest(fields)


_UNSET: dict[str, Any] = {
    "judges": [],
    "judges_unmeasured": "refuse",
    "cached": "refuse",
    "split": None,
    "max_retried": None,
    "baseline": "any",
    "slices": [],
    "golden": [],
    "waivers": [],
}
_UNSET_IN_METRIC: dict[str, Any] = {
    "expected": None,
    "tier": "critical",
    "n_min": None,
    "max_rise": None,
    "max_failures": None,
    "below": None,
    "max_ratio": None,
    "of": None,
    "max_regressed": None,
}


def _is_plan(metric: MetricConfig) -> bool:
    """Whether slices of its metric may take its plan: it is about differences, of the whole data set."""
    return metric.test == "noninferior" and metric.planned_sd is not None and metric.tag is None


def load_gate(path: Path) -> GateConfig:
    """Read a gate; every margin in it needs a plan. Raises DocumentError."""
    return documents.load(path, GateConfig, check=_unplanned)


_PLAN = "missing key 'planned_sd': a margin needs a plan; take the standard deviation of the paired difference from a "


def _unplanned(gate: GateConfig) -> Iterator[tuple[documents.Location, str]]:
    pilot = _PLAN + "pilot (`evals compare A B` prints it)"
    for position, metric in enumerate(gate.metrics):
        if metric.test == "noninferior" and metric.planned_sd is None:
            yield ("metrics", position), pilot
    planned = {metric.metric for metric in gate.metrics if _is_plan(metric)}
    for position, entry in enumerate(gate.slices):
        if entry.planned_sd is None and not planned.issuperset(entry.metrics):
            yield ("slices", position), f"{pilot}, or give the metric a condition of its own with one"
