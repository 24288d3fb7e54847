"""The card of a judge: what it is, what it was measured on, how it did, and until when that counts.

    schema: tollgate.judge-card/v1
    metric: quality
    judge: {digest: "sha256:...", scorer: judge, model: judge@3, ...}
    labels: {name: labels.jsonl, digest: "sha256:...", samples: 120, ...}
    figures:
      tpr: {value: 0.96, lower: 0.87, upper: 0.995, samples: 60}

The card is pinned by its digest, sha256 over the canonical JSON of all of it.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AwareDatetime, Field, FiniteFloat

from evals import whole
from gateway.contracts import canonical, documents
from gateway.contracts.errors import InputError
from gateway.contracts.release import Digest

Count = Annotated[int, Field(ge=0)]
_FIRST_BYTES = b"schema: tollgate.judge-card/"


class Figure(documents.Frozen):
    """A figure with its interval at `confidence`; `samples` is how many it was made of."""

    value: FiniteFloat
    lower: FiniteFloat
    upper: FiniteFloat
    samples: Count


class Figures(documents.Frozen):
    """How the judge did. A figure that the labels say nothing about is absent.

    `tpr` and `tnr`: of what people passed (or failed), the share that it passed (failed). `kappa` is weighted by
    squared distance, `alpha` Krippendorff's between judge and label, `human_alpha` that among the people themselves:
    what can be asked of a judge. `flip_rate` is the share of pairwise votes that the order of the answers changed.
    `self_consistency` is the chance that two votes on one answer agree.
    """

    tpr: Figure | None = None
    tnr: Figure | None = None
    accuracy: Figure | None = None
    kappa: Figure | None = None
    alpha: Figure | None = None
    human_alpha: Figure | None = None
    flip_rate: Figure | None = None
    self_consistency: Figure | None = None


class SliceFigures(documents.Frozen):
    """The same by tag, for information."""

    tag: str
    samples: Count
    tpr: Figure | None = None
    tnr: Figure | None = None
    accuracy: Figure | None = None


class JudgeOfCard(documents.Frozen):
    """Who was measured. `digest` is the one that a run's manifest carries; `releases` are those that answered."""

    digest: Digest
    scorer: str
    model: str
    votes: Annotated[int, Field(ge=1)]
    params: dict[str, Any]
    releases: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()


class Step(documents.Frozen):
    """A label that people may give, and its value in [0, 1]."""

    label: str | int | FiniteFloat
    value: Annotated[FiniteFloat, Field(ge=0, le=1)]


class LabelsOfCard(documents.Frozen):
    """What it was measured on. `threshold` is the value in [0, 1] from which on a label or a verdict counts as pass."""

    name: str
    digest: Digest
    split: str | None = None
    samples: Count
    clusters: Count
    failures: Count
    threshold: FiniteFloat
    scale: tuple[Step, ...]

    def label_values(self) -> dict[str | int | float, float]:
        """The value of each label."""
        return {step.label: step.value for step in self.scale}


class Card(documents.Frozen):
    """A measured judge."""

    schema_: Literal["tollgate.judge-card/v1"] = Field(default="tollgate.judge-card/v1", alias="schema")
    metric: str
    judge: JudgeOfCard
    labels: LabelsOfCard
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    figures: Figures
    slices: tuple[SliceFigures, ...] = ()
    created: AwareDatetime
    expires: AwareDatetime
    harness: str = ""

    def values(self) -> dict[str, Any]:
        """The card as JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def digest(self) -> str:
        """What a gate pins."""
        return canonical.digest(self.values())

    def expired(self, now: datetime) -> bool:
        """Whether it no longer counts."""
        return now >= self.expires


def load(path: Path) -> Card:
    """Read a card. Raises DocumentError."""
    return documents.load(path, Card)


def check_free(path: Path) -> None:
    """Raise InputError unless a card may be written here: over nothing, or over another card."""
    try:
        free = whole.may_write(path, _FIRST_BYTES)
    except OSError as error:
        raise InputError(f"cannot write the card to {str(path)!r}: {error.strerror}") from error
    if not free:
        raise InputError(f"--out: {str(path)!r} is there already, and is no judge's card: name another file")


def save(card: Card, path: Path) -> None:
    """Write a card. Raises InputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(card.values(), sort_keys=False, allow_unicode=True, width=120)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write the card to {str(path)!r}: {error.strerror}") from error
