"""What a report says, before anybody decides how it looks: plain data, nothing to work out any more.

Scores, differences and bounds are in the metric's own unit; latencies are in seconds; money is Decimal. None stands for
what is not known, and is shown as such.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from evals.schema import Arm
from evals.variance import Split
from gateway.contracts.verdict import Answer, Test, Waiver

Kind = Literal["gate", "comparison", "run"]
Change = Literal["same", "changed"]
Case = Literal["regressed", "improved", "lowest"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One metric of a gate, of a comparison or of a run.

    `line` is what decides, in the unit of the estimate (minus the margin, the floor, the largest ratio, the largest
    share of failures), `lower_is_better` on which side of it is good. `verdict` is None where no gate has spoken.
    """

    label: str
    test: Test | None
    verdict: Answer | None
    reason: str
    owner: str
    tier: str
    estimate: float | None
    lower: float | None
    upper: float | None
    line: float | None
    asked: str
    lower_is_better: bool
    baseline: float | None
    candidate: float | None
    samples: int
    clusters: int
    missing: tuple[int, int]
    power: float | None
    failures: int | None = None

    @property
    def paired(self) -> bool:
        """Whether the estimate is a difference of two runs."""
        return self.test == "noninferior"


@dataclass(frozen=True, slots=True)
class Slice:
    """A metric on the samples of one tag. `estimate` is the difference where there is a baseline, else the mean."""

    metric: str
    tag: str
    samples: int
    baseline: float | None
    candidate: float
    estimate: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer, and whether the other answer has it too."""

    change: Change
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Judged:
    """One score of an answer, and why."""

    metric: str
    value: float
    explanation: str
    votes: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One answer. `facts` are figures about it, `cut` how many characters of its text were left out."""

    arm: Arm
    epoch: int
    outcome: str
    failure: str
    pieces: tuple[Piece, ...]
    cut: int
    scores: tuple[Judged, ...]
    turns: tuple[str, ...]
    tool_calls: tuple[str, ...]
    passages: tuple[Message, ...]
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """A metric of one sample, averaged over its epochs: before and after."""

    metric: str
    baseline: float | None
    candidate: float | None


@dataclass(frozen=True, slots=True)
class SampleView:
    """One sample with what was asked and answered. `prompt` is empty where the data set is not at hand.

    `pairs` are the answers of one epoch each, baseline first; `epochs_left_out` counts those not shown.
    """

    id: str
    kind: Case
    moved: tuple[Moved, ...]
    tags: tuple[str, ...]
    cluster: str | None
    prompt: tuple[Message, ...]
    references: tuple[str, ...]
    pairs: tuple[tuple[Shown, ...], ...]
    epochs_left_out: int = 0


@dataclass(frozen=True, slots=True)
class Cases:
    """Samples of one kind: those that are shown, and how many there are of them in all."""

    kind: Case
    samples: tuple[SampleView, ...]
    total: int

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.total - len(self.samples)


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Results of one arm that failed in one way. `ids` are the first few of `count`, `example` is one's message."""

    arm: Arm
    kind: str
    meaning: str
    counts_as: str
    count: int
    example: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity of one arm's answers. Quantiles are values that were measured; `counts` are by bin, the last one open.

    `cached` answers are left out, for they cost and took nothing; `unknown` carried no figure.
    """

    arm: Arm
    count: int
    cached: int
    unknown: int
    mean: float
    quantiles: Mapping[str, float]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """The distributions of one quantity, on shared bins: bin i goes from `start + i * width`; the last one is open."""

    name: str
    unit: str
    start: float
    width: float
    spreads: tuple[Spread, ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """What one arm used. `cost` is None when no answer carried one; `uncosted` answers have none."""

    arm: Arm
    outcomes: Mapping[str, int]
    finish_reasons: Mapping[str, int]
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: Decimal | None
    uncosted: int
    from_cache: int


@dataclass(frozen=True, slots=True)
class Noise:
    """Where the noise of a metric's mean, or of its difference, comes from."""

    metric: str
    split: Split


@dataclass(frozen=True, slots=True)
class Retried:
    """Mean scores of results at the first try, and of those that were asked for again; None where there are none."""

    arm: Arm
    metric: str
    first: tuple[int, float | None]
    again: tuple[int, float | None]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a report rests on. `exact` is text to be copied, such as a digest."""

    name: str
    value: str
    exact: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What each kind of report says in its own way. `level` is what its intervals are, in words."""

    kind: Kind
    title: str
    headline: str
    level: str
    conditions: tuple[Condition, ...]
    cases: tuple[Cases, ...]
    facts: tuple[Fact, ...]
    metrics: tuple[str, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    answer: Answer | None = None
    reason: str = ""
    expires: str | None = None
    waivers: tuple[Waiver, ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many samples of an arm have complete evidence; `share` is in [0, 1]."""

    arm: Arm
    share: float
    complete: int
    samples: int


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report. `no_prompts` says why there are none; `show_command` shows any one sample."""

    said: Said
    candidate: str
    baseline: str | None
    made_at: str
    coverage: tuple[Coverage, ...]
    slices: tuple[Slice, ...]
    slices_left_out: int
    show_command: str
    no_prompts: str
    failures: tuple[FailureKind, ...]
    quantities: tuple[Quantity, ...]
    bills: tuple[Bill, ...]
    noises: tuple[Noise, ...]
    retried: tuple[Retried, ...]
