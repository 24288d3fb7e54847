"""Suites, as people write them: frozen, unknown keys refused, every mistake named with its line.

A suite says what is asked and how an answer is scored. Which scorers exist is not known on this floor: whoever loads a
suite passes a check for one `ScorerSpec`.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from evals import option_files
from evals.judge_config import JudgeConfig, sendable
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
        return sendable(value)

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
