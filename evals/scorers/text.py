"""Scorers that compare text: exact, includes, regex, numeric.

Text is normalised as SQuAD's evaluation script does it (Rajpurkar et al. 2016): lower case, no punctuation, no English
articles, single spaces. `normalise: false` compares the characters as they are.
"""

import re
import string
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from pydantic import Field, field_validator

from evals.schema import Answer, Sample, Score
from evals.scorers.base import Scorer, Services, references

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# A hyphen after a word character is no sign (2024-05), and the exponent stays in Decimal's range.
_NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,4}\b)?")


def normalise(text: str) -> str:
    """SQuAD's `normalize_answer`."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


class Exact(Scorer):
    """1 when the answer is one of the references."""

    needs = "reference"

    normalise: bool = True

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """1 or 0."""
        clean = normalise if self.normalise else str.strip
        found = clean(answer.text)
        return Score(float(any(found == clean(wanted) for wanted in references(sample))))


class Includes(Scorer):
    """1 when one of the references occurs in the answer; of normalised text, as whole words."""

    needs = "reference"

    normalise: bool = True

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """1 or 0. Raises ValueError for a reference without content: everything would include it."""
        for wanted in references(sample):
            needle = normalise(wanted) if self.normalise else wanted
            if not needle:
                raise ValueError(f"sample {sample.id!r}: the reference {wanted!r} is empty after normalisation")
            found = f" {needle} " in f" {normalise(answer.text)} " if self.normalise else needle in answer.text
            if found:
                return Score(1.0)
        return Score(0.0)


class Regex(Scorer):
    """1 when the pattern is found in the answer (Python syntax; `full` asks that it match the whole answer)."""

    example: ClassVar[Mapping[str, Any]] = {"as": "month", "pattern": r"\b\d{4}-(0[1-9]|1[0-2])\b"}

    pattern: str
    ignore_case: bool = False
    full: bool = False

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """1 or 0."""
        flags = re.IGNORECASE if self.ignore_case else 0
        search = re.fullmatch if self.full else re.search
        return Score(float(search(self.pattern, answer.text.strip(), flags) is not None))


class Numeric(Scorer):
    """1 when the last number of the answer is that of a reference, give or take.

    `tolerance` is absolute, in the number's own unit; `relative` is a share of the reference. The wider one counts.
    Thousands may have commas. The last number, because models reason first and conclude last.
    """

    needs = "reference"

    example: ClassVar[Mapping[str, Any]] = {"as": "price", "tolerance": 0.01}

    tolerance: float = Field(default=0.0, ge=0)
    relative: float = Field(default=0.0, ge=0)

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """1 or 0. Raises ValueError when a reference holds no number."""
        found = last_number(answer.text)
        wanted = [last_number(reference) for reference in references(sample)]
        if any(number is None for number in wanted):
            raise ValueError(f"sample {sample.id!r}: a reference holds no number: {sample.reference!r}")
        if found is None:
            return Score(0.0, "the answer holds no number")
        return Score(float(any(number is not None and self._near(found, number) for number in wanted)))

    def _near(self, found: Decimal, wanted: Decimal) -> bool:
        allowed = max(Decimal(str(self.tolerance)), abs(wanted) * Decimal(str(self.relative)))
        return abs(found - wanted) <= allowed


def last_number(text: str) -> Decimal | None:
    """The last decimal number of a text; None when there is none."""
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "")) if found else None


SCORERS: dict[str, type[Scorer]] = {"exact": Exact, "includes": Includes, "regex": Regex, "numeric": Numeric}
