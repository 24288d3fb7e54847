"""What a gate says, for the reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.contracts.verdict import Answer as Answers
from gateway.contracts.verdict import MetricResult, Verdict, Waiver


@dataclass(frozen=True, slots=True)
class Slice:
    """A metric on the samples of one tag: for information, never for a verdict."""

    metric: str
    tag: str
    samples: int
    estimate: float


@dataclass(frozen=True, slots=True)
class Flips:
    """Sample ids whose score certainly fell, and certainly rose, from baseline to candidate."""

    regressed: tuple[str, ...] = ()
    improved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a gate says, for the reports. `verdict` is None when there is no release to say it about.

    `problems` are the reasons for `invalid` that concern the whole run; `owners` stand in the order of `metrics`;
    `flips` are by metric label. `waivers` are those
    that were used.
    """

    gate: str
    answer: Answers
    reason: str
    metrics: tuple[MetricResult, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    release: str | None = None
    release_digest: str | None = None
    baseline: str | None = None
    owners: tuple[str, ...] = ()
    flips: Mapping[str, Flips] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()
    verdict: Verdict | None = None
    waivers: tuple[Waiver, ...] = ()
