"""Suites and gates, as people write them: frozen, unknown keys refused, every mistake named with its line.

A suite says what is asked and how an answer is scored; a gate says what scores a release needs. Which scorers exist is
not known on this floor: whoever loads a suite passes a check for one `ScorerSpec`. A gate built in code may leave out
the plan (`planned_sd`); one in a file may not.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from evals import option_files
from evals.durations import Duration, span
from evals.judge_config import JudgeConfig, JudgeFloor
from evals.retrieval_config import EmbeddingsConfig, RetrievalConfig
from gateway.contracts import canonical, documents
from gateway.contracts.release import Digest

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
RESERVED_PARAMS = frozenset({"model", "messages", "stream", "stream_options", "n"})


class ScorerSpec(documents.Frozen):
    """`{name: regex, as: city, pattern: ...}`: which scorer, the metric's name, and the scorer's own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    as_: Name | None = Field(default=None, alias="as")

    @property
    def metric(self) -> str:
        """The name of the score: `as`, or the scorer's name."""
        return self.as_ or self.name

    @property
    def options(self) -> dict[str, Any]:
        """The scorer's own keys."""
        return dict(self.model_extra or {})

    def beside(self, folder: Path) -> "ScorerSpec":
        """The same with the files read that its options name. Raises ValueError."""
        return self.model_copy(update=option_files.filled(self.options, folder))


class SuiteConfig(documents.Frozen):
    """What is asked: a data set or one `split` of it, request parameters, scorers. `timeout_s` is for one attempt.

    With a split, `dataset_sha256` is the digest of the split, as the card of the data set freezes it.
    """

    suite: Name
    dataset: str
    dataset_sha256: Digest | None = None
    split: Name | None = None
    params: dict[str, Any] = Field(default_factory=lambda: {"temperature": 0})
    system: str | None = None
    scorers: Annotated[tuple[ScorerSpec, ...], Field(min_length=1)]
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 32
    max_retries: Annotated[int, Field(ge=0, le=20)] = 4
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    judge: JudgeConfig | None = None
    embeddings: EmbeddingsConfig | None = None
    retrieval: RetrievalConfig | None = None

    @model_validator(mode="after")
    def _embedded(self) -> "SuiteConfig":
        if self.retrieval is not None and self.embeddings is None:
            raise ValueError("retrieval needs a model: add `embeddings: {model: wordllama}`, or a served model's name")
        return self

    @field_validator("params")
    @classmethod
    def _free(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(RESERVED_PARAMS & set(value))
        if taken:
            raise ValueError(f"{', '.join(taken)}: the harness sets these itself; leave them out of params")
        return value

    @field_validator("scorers")
    @classmethod
    def _distinct(cls, value: tuple[ScorerSpec, ...]) -> tuple[ScorerSpec, ...]:
        seen: set[str] = set()
        for spec in value:
            if spec.metric in seen:
                raise ValueError(f"two scorers give the metric {spec.metric!r}: name one of them with `as:`")
            seen.add(spec.metric)
        return value

    def digest(self, dataset_sha256: str, rag: Mapping[str, Any] | None = None) -> str:
        """sha256 over everything that a score depends on; concurrency, retries and timeouts are not among it.

        `rag` is what `rag.identity` gives; it counts, and has to be there, only where the suite has `embeddings`.
        Raises ValueError without it: two suites over different documents would look the same.
        """
        if (self.embeddings is None) != (rag is None):
            raise ValueError("a suite with embeddings needs their identity for its digest, and no other takes one")
        return canonical.digest(
            {
                "suite": self.suite,
                "dataset_sha256": dataset_sha256,
                "params": self.params,
                "system": self.system,
                "scorers": self.scorer_dicts(),
                "epochs": self.epochs,
                **({} if rag is None else {"rag": dict(rag)}),
                **({} if self.judge is None else {"judge": self.judge.identity()}),
                **({"split": self.split} if self.split else {}),
            }
        )

    def scorer_dicts(self) -> list[dict[str, Any]]:
        """The scorers as JSON values; of a file that a scorer reads, the name and the digest."""
        specs = (spec.model_dump(mode="json", by_alias=True, exclude_none=True) for spec in self.scorers)
        return [option_files.named(spec) for spec in specs]


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


def load_suite(path: Path, check_scorer: Callable[[ScorerSpec], object]) -> SuiteConfig:
    """Read a suite, and the files beside it that its scorers name. Raises DocumentError.

    `check_scorer` raises ValueError for a scorer it does not know.
    """

    def check(suite: SuiteConfig) -> Iterator[tuple[documents.Location, str]]:
        for position, spec in enumerate(suite.scorers):
            try:
                filled.append(spec.beside(path.parent))
                check_scorer(filled[-1])
            except ValueError as error:
                yield ("scorers", position, "name"), str(error)

    filled: list[ScorerSpec] = []
    suite = documents.load(path, SuiteConfig, check=check)
    return suite.model_copy(update={"scorers": tuple(filled)})


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
