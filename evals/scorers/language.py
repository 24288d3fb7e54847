"""Which language an answer is in. py3langid, an optional dependency, is loaded with a suite that uses it."""

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import Scorer, Services

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|\S+@\S+\.\w+", re.DOTALL)


class Language(Scorer):
    """1 when the answer is in the expected language (ISO 639 codes; several are equally good).

    `expected` is fixed for the suite, or, without it, stands in the sample's tags: `lang:pt` with `tag: "lang:"`
    (`lang:pt-BR` means pt). 1 when the languages' probability together is at least `min_confidence`, 0 when it is at
    most 1 - `min_confidence`; in between, and for an answer with fewer than `min_bytes` of letters (in UTF-8, for a
    Chinese letter says more than a Latin one), nobody can tell, and the sample counts as not measured. `min_bytes: 0`
    judges every answer. Code between fences or backticks and addresses are in no language. Close relatives need naming
    together: `[pt, gl]`, `[no, da]`.
    """

    example: ClassVar[Mapping[str, Any]] = {"expected": ["pt"]}

    expected: tuple[str, ...] = ()
    tag: str = Field(default="lang:", min_length=1)
    min_bytes: int = Field(default=20, ge=0)
    min_confidence: float = Field(default=0.6, gt=0.5, lt=1)

    @field_validator("expected", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> "Language":
        try:
            self._check(self.expected)
        except ModuleNotFoundError as error:
            raise ValueError(f"{error.name} is not installed: pip install 'tollgate[evals]'") from error
        return self

    def _check(self, codes: tuple[str, ...]) -> None:
        known = _identifier().labels
        unknown = [code for code in codes if code not in known]
        if unknown:
            raise ValueError(
                f"no language {unknown[0]!r} can be identified: expected codes of ISO 639, such as en, pt or zh"
            )

    def _wanted(self, sample: Sample) -> tuple[str, ...]:
        if self.expected:
            return self.expected
        found = tuple(tag.removeprefix(self.tag).split("-")[0] for tag in sample.tags if tag.startswith(self.tag))
        if not found:
            raise ValueError(f"sample {sample.id!r} has no tag {self.tag}CODE: tag it, or set `expected`")
        self._check(found)
        return found

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """1 or 0. Raises Unjudged where nobody can tell, ValueError for a sample without a language."""
        wanted = self._wanted(sample)
        prose = _NOT_PROSE.sub(" ", answer.text)
        letters = sum(len(letter.encode("utf-8", "surrogatepass")) for letter in prose if letter.isalpha())
        if letters < self.min_bytes:
            raise Unjudged("not_measured", f"{letters} bytes of letters are too few to tell a language: {prose[:40]!r}")
        ranked = _identifier().rank(prose)
        sure = min(sum(probability for language, probability in ranked if language in wanted), 1.0)
        likely = f"{ranked[0][0]} ({ranked[0][1]:.2f})"
        if 1 - self.min_confidence < sure < self.min_confidence:
            raise Unjudged("not_measured", f"{'/'.join(wanted)} has a probability of {sure:.2f}, likeliest is {likely}")
        return Score(float(sure >= self.min_confidence), likely)


@cache
def _identifier() -> "LanguageIdentifier":
    """One for the process, for its model takes most of a second to read."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


SCORERS: dict[str, type[Scorer]] = {"language": Language}
