"""Citations and quotations of an answer, held against the passages that it was given.

The passages are those of the answer (retrieval), or else the sample's `contexts`, which are numbered from 1. Neither
scorer reads whether a passage supports the sentence that cites it: that needs a judge.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from evals.schema import Answer, Passage, Sample, Score
from evals.scorers.base import Scorer, Services
from evals.scorers.retrieval import document, grades

MARKER = r"\[([A-Za-z]{0,8}\d+(?:\s*[,;]\s*[A-Za-z]{0,8}\d+)*)\]"
"""[1], [d12], [1, 3]."""
_SPLIT = re.compile(r"\s*[,;]\s*")
_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|«([^»]+)»|„([^“”]+)[“”]')
_LEFT_OUT = re.compile(r"\[?(?:\.{3}|…)\]?")
_EDGES = " .,;:!?"
_LONGEST = 120


class Citations(Scorer):
    """Markers such as [1] or [d12] in the answer must name passages that exist.

    A marker is the id of a passage, or its place from 1 where no id is a number. `mode: precision` is the share of the
    markers that exist, `mode: recall` the share of the sample's `relevant` documents that are cited (by a passage's id
    before `separator`). An answer without a marker scores 0; `required: false` makes that 1 for precision. `pattern`
    has one group, which may list several: `1, 3`.
    """

    example: ClassVar[Mapping[str, Any]] = {"pattern": r"\[doc:([\w.#-]+)\]"}

    mode: Literal["precision", "recall"] = "precision"
    required: bool = True
    pattern: str = MARKER
    separator: str | None = Field(default="#", min_length=1)

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, value: str) -> str:
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if groups != 1:
            raise ValueError(f"expected one group, which is the marker's name; found {groups} in {value!r}")
        return value

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1]. Raises ValueError without passages to cite; for recall, without a relevant document."""
        names = _names(_given(sample, answer))
        found = [
            name for group in re.findall(self.pattern, answer.text) for name in _SPLIT.split(group.strip()) if name
        ]
        if self.mode == "recall":
            return self._recall(sample, {names[name] for name in found if name in names})
        if not found:
            return Score(0.0, "the answer cites nothing") if self.required else Score(1.0)
        invented = [name for name in found if name not in names]
        listed = ", ".join(dict.fromkeys(invented))[:_LONGEST]
        return Score(1 - len(invented) / len(found), f"no passage is called {listed}" if invented else "")

    def _recall(self, sample: Sample, cited: set[str]) -> Score:
        relevant = grades(sample, self.separator)
        documents = {document(name, self.separator) for name in cited}
        missing = [name for name in relevant if name not in documents]
        return Score(1 - len(missing) / len(relevant), f"not cited: {', '.join(missing)[:_LONGEST]}" if missing else "")


class Quotes(Scorer):
    """What the answer quotes ("...", “...”, «...») must stand in one of the passages: the share that does.

    Case, white space and the punctuation at a quotation's ends do not matter; `...` inside of it leaves words out.
    Quotations of fewer than `min_words` words are names and terms, and are not looked at. An answer without a longer
    one scores 0; `required: false` makes that 1.
    """

    min_words: int = Field(default=3, ge=1)
    required: bool = True

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1], with the first quotation that was not found. Raises ValueError without passages to quote."""
        texts = [_plain(passage.text) for passage in _given(sample, answer)]
        quoted = [text for groups in _QUOTED.findall(answer.text) for text in groups if text]
        quoted = [text for text in quoted if len(text.split()) >= self.min_words]
        if not quoted:
            return Score(0.0, "the answer quotes nothing") if self.required else Score(1.0)
        wrong = [text for text in quoted if not any(_stands_in(text, passage) for passage in texts)]
        return Score(1 - len(wrong) / len(quoted), f"not in a passage: {wrong[0][:_LONGEST]!r}" if wrong else "")


def _given(sample: Sample, answer: Answer) -> Sequence[Passage]:
    if answer.passages is not None:
        return answer.passages
    if sample.contexts is None:
        raise ValueError(f"sample {sample.id!r} has no contexts, and nothing was retrieved: there is nothing to cite")
    return [Passage(str(place), text) for place, text in enumerate(sample.contexts, start=1)]


def _names(passages: Sequence[Passage]) -> dict[str, str]:
    """What a marker may say, and the id of the passage that it means."""
    names = {passage.id: passage.id for passage in passages}
    if not any(name.isdecimal() for name in names):
        names |= {str(place): passage.id for place, passage in enumerate(passages, start=1)}
    return names


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("’", "'").split())


def _stands_in(quoted: str, passage: str) -> bool:
    """Whether the pieces of a quotation stand in a passage, in their order; one without a word does not."""
    at, pieces = 0, [piece for part in _LEFT_OUT.split(quoted) if (piece := _plain(part).strip(_EDGES))]
    for piece in pieces:
        found = passage.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return bool(pieces)


SCORERS: dict[str, type[Scorer]] = {"citations": Citations, "quotes": Quotes}
