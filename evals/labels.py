"""Labelled samples: answers that people have judged, to measure a judge on or to correct its verdicts with.

    {"id": "a1", "input": "...", "answer": "...", "label": 1, "reference": "...", "cluster": "doc-7", "tags": ["plans"]}
    {"id": "a2", "input": "...", "answer": "...", "labels": [1, 1, 0], "split": "test"}

A label is what the judge's scale knows: 0 or 1 (`fail`, `pass`), a grade, or for a pairwise judge 0, 0.5 or 1 (`loss`,
`tie`, `win`) of the answer against its `reference`. Of several people's `labels` the most frequent one counts.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evals.schema import Answer, Passage, Sample
from gateway.contracts import canonical, documents
from gateway.contracts.errors import InputError, Mistake

Raw = str | int | float


class Labelled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer and what people said of it. `input`, `answer` may be missing where only the label is looked up."""

    id: str
    input: str | list[dict[str, Any]] = ""
    answer: str | None = None
    label: Raw | bool | None = None
    labels: list[Raw | bool] = []
    reference: str | list[str] | None = None
    contexts: list[str] | None = None
    cluster: str | None = None
    tags: list[str] = []
    split: str | None = None

    def sample(self) -> Sample:
        """The question."""
        return Sample(
            id=self.id,
            input=self.input,
            reference=self.reference,
            contexts=self.contexts,
            cluster=self.cluster,
            tags=self.tags,
        )

    def said(self) -> Answer:
        """The answer under judgement."""
        passages = [Passage(str(at), text) for at, text in enumerate(self.contexts)] if self.contexts else None
        return Answer(text=self.answer or "", finish_reason="stop", passages=passages)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labelled samples in the order of the file, their digest, and each one's label and single labels in [0, 1]."""

    path: Path
    samples: tuple[Labelled, ...]
    truth: dict[str, float]
    people: dict[str, tuple[float, ...]]
    digests: dict[str, str]
    digest: str


def load(path: Path, scale: Mapping[Raw, float], *, answers: bool = True, split: str | None = None) -> LabelSet:
    """Read labels; `scale` gives the value of each label. Raises DocumentError with every mistake and its line.

    `answers` asks for inputs and answers too; `split` takes only the samples of one split.
    """
    mistakes: list[Mistake] = []
    found: dict[str, Labelled] = {}
    seen: set[str] = set()
    truth: dict[str, float] = {}
    people: dict[str, tuple[float, ...]] = {}
    for number, text in enumerate(documents.read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            one = msgspec.json.decode(text, type=Labelled)
            value = _truth(one, scale, answers)
            if one.id in seen:
                raise ValueError(f"duplicate id {one.id!r}: give each answer an id of its own")
        except (ValueError, RecursionError) as error:  # msgspec says the second of JSON that is too deep
            mistakes.append(Mistake(number, "", _told(error)))
            continue
        seen.add(one.id)
        if split in (None, one.split):
            found[one.id], truth[one.id] = one, value
            people[one.id] = tuple(_value(label, scale) for label in one.labels)
    if mistakes:
        raise documents.refused(path, mistakes)
    if not found:
        of_split = f" of split {split!r}" if split else ""
        raise InputError(f"{str(path)!r} holds no labelled sample{of_split}: expected one JSON object a line")
    digests = {key: canonical.digest(msgspec.to_builtins(one)) for key, one in found.items()}
    whole = canonical.digest(sorted(digests.items()))
    return LabelSet(path, tuple(found.values()), truth, people, digests, whole)


def _told(error: Exception) -> str:
    if "unknown field" in str(error):
        return f"{error}: the fields known here are {', '.join(Labelled.__struct_fields__)}"
    return str(error)


def _truth(one: Labelled, scale: Mapping[Raw, float], answers: bool) -> float:
    """The label that counts. Raises ValueError."""
    if not one.id or (answers and (not one.input or one.answer is None)):
        raise ValueError("expected 'id', 'input' and 'answer': a judge is measured on answers that people have read")
    people = [_value(label, scale) for label in one.labels]
    if one.label is not None:
        return _value(one.label, scale)
    ranked = Counter(people).most_common(2)
    if not ranked:
        raise ValueError("missing key 'label' (or 'labels', of several people)")
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        raise ValueError(f"the labels {one.labels!r} have no most frequent one: settle it with 'label'")
    return ranked[0][0]


def _value(label: Raw | bool, scale: Mapping[Raw, float]) -> float:
    if isinstance(label, bool):  # True == 1 in Python: on a scale of grades it would be the worst one
        label = "pass" if label else "fail"
    if label not in scale:
        listed = ", ".join(repr(known) for known in scale)
        raise ValueError(f"label {label!r} is not on the judge's scale: {listed}")
    return scale[label]
