"""Scorers of overlap with a reference: ROUGE, BLEU, chrF and chrF++, in [0, 1].

rouge-score and sacrebleu, optional dependencies, are loaded with a suite that uses them (not with its first answer: the
seconds would count as the latency of the others under way); neither downloads anything here.
**Corpus BLEU is not the mean of sentence BLEU**: it divides sums of counts, and its brevity penalty is one for all
texts. The metric of a run is the mean of sentence scores, so it compares releases with each other and is no figure to
hold against a published corpus BLEU. The same is true of corpus chrF.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import ConfigDict, model_validator

from evals.schema import Answer, Sample, Score
from evals.scorers.base import Scorer, Services, references

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.base import Metric

_WORD = re.compile(r"\w+")
_LARGEST_TABLE = 4_000_000
_CONFIG = ConfigDict(frozen=True, extra="forbid", validate_default=True, ignored_types=(cached_property,))


class Tokenizes(Protocol):
    """What rouge-score asks of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text in their order."""
        ...


class _UnicodeWords:
    """Words of every script, in lower case."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text in their order."""
        return _WORD.findall(text.lower())


class Rouge(Scorer):
    """ROUGE: n-grams (rouge1, rouge2) or the longest common subsequence (rougeL, rougeLsum), the best reference counts.

    Lin 2004 (aclanthology.org/W04-1013), by the library rouge-score. `measure` says what of it counts. Its own words
    are runs of a-z and 0-9 alone, so that accents cut words and other scripts have none: `words: unicode` reads every
    script. `stem` cuts English suffixes. rougeLsum takes lines for sentences; texts of one word have no rouge2.
    """

    needs = "reference"

    model_config = _CONFIG
    example: ClassVar[Mapping[str, Any]] = {"as": "rougeL", "variant": "rougeL", "words": "unicode"}

    variant: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"] = "rougeL"
    measure: Literal["fmeasure", "precision", "recall"] = "fmeasure"
    words: Literal["ascii", "unicode"] = "ascii"
    stem: bool = False

    @cached_property
    def _tokenizer(self) -> "Tokenizes":
        from rouge_score.tokenizers import DefaultTokenizer

        return _UnicodeWords() if self.words == "unicode" else DefaultTokenizer(self.stem)

    @cached_property
    def _rouge(self) -> "RougeScorer":
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer([self.variant], tokenizer=self._tokenizer)

    @model_validator(mode="after")
    def _ready(self) -> "Rouge":
        if self.stem and self.words == "unicode":
            raise ValueError("stem: the stemmer knows English alone: leave it out, or use `words: ascii`")
        _load(self, "_rouge")
        return self

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1]. Raises ValueError for a reference without words, and for texts too long for rougeLsum."""
        said = self._tokenizer.tokenize(answer.text)
        return Score(max(self._one(sample, answer.text, said, wanted) for wanted in references(sample)))

    def _one(self, sample: Sample, text: str, said: Sequence[str], reference: str) -> float:
        wanted = self._tokenizer.tokenize(reference)
        if not wanted:
            hint = "" if self.words == "unicode" else "; ROUGE's own words are of a-z and 0-9: use `words: unicode`"
            raise ValueError(f"sample {sample.id!r}: the reference {reference!r} holds no word{hint}")
        if self.variant == "rougeL":
            return _overlap(lcs_length(said, wanted), len(said), len(wanted))[self.measure]
        if self.variant == "rougeLsum" and len(said) * len(wanted) > _LARGEST_TABLE:
            raise ValueError(
                f"sample {sample.id!r}: {len(said)} words against {len(wanted)} are too many for rougeLsum: use rougeL"
            )
        return float(getattr(self._rouge.score(reference, text)[self.variant], self.measure))


class Bleu(Scorer):
    """Sentence BLEU over all references, with effective order (short texts are scored by the n-grams that they have).

    Papineni et al. 2002, by sacrebleu (Post 2018). `tokenize: char` or `zh` for texts without spaces. The mean over
    samples is not corpus BLEU.
    """

    needs = "reference"

    model_config = _CONFIG

    tokenize: Literal["13a", "intl", "char", "zh", "none"] = "13a"
    smooth: Literal["exp", "floor", "add-k", "none"] = "exp"
    lowercase: bool = False

    @model_validator(mode="after")
    def _ready(self) -> "Bleu":
        _load(self, "_metric")
        return self

    @cached_property
    def _metric(self) -> "Metric":
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(tokenize=self.tokenize, smooth_method=self.smooth, lowercase=self.lowercase, effective_order=True)

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1]: sacrebleu's figure over 100. Raises ValueError for a blank reference."""
        return _sentence(self._metric, sample, answer)


class Chrf(Scorer):
    """chrF: F of character n-grams, the best reference counts. Needs no words, so it suits every language.

    Popović 2015, by sacrebleu; n-grams up to six characters, and recall weighs `beta` times as much as precision.
    """

    needs = "reference"

    model_config = _CONFIG
    words: ClassVar[int] = 0

    beta: Literal[1, 2, 3] = 2
    lowercase: bool = False

    @model_validator(mode="after")
    def _ready(self) -> "Chrf":
        _load(self, "_metric")
        return self

    @cached_property
    def _metric(self) -> "Metric":
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(word_order=self.words, beta=self.beta, lowercase=self.lowercase)

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1]: sacrebleu's figure over 100. Raises ValueError for a blank reference."""
        return _sentence(self._metric, sample, answer)


class ChrfPlusPlus(Chrf):
    """chrF++: chrF with single words and pairs of words among the n-grams (Popović 2017)."""

    words: ClassVar[int] = 2


def _load(scorer: Scorer, library: str) -> None:
    try:
        getattr(scorer, library)
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'tollgate[evals]'") from error


def _sentence(metric: "Metric", sample: Sample, answer: Answer) -> Score:
    wanted = references(sample)
    if not all(reference.strip() for reference in wanted):
        raise ValueError(f"sample {sample.id!r} has a blank reference: nothing overlaps with it")
    # Perfect ones come out a rounding error above 100.
    return Score(min(metric.sentence_score(answer.text, wanted).score / 100, 1.0))


def lcs_length(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, in bits of an integer (Hyyrö 2004): no table in memory."""
    places: dict[str, int] = {}
    for position, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << position
    full = (1 << len(one)) - 1
    rows = full
    for word in other:
        matched = rows & places.get(word, 0)
        rows = (rows + matched | rows - matched) & full
    return len(one) - rows.bit_count()


def _overlap(shared: int, said: int, wanted: int) -> dict[str, float]:
    precision, recall = (shared / said if said else 0.0), shared / wanted
    both = precision + recall
    return {"precision": precision, "recall": recall, "fmeasure": 2 * precision * recall / both if both else 0.0}


SCORERS: dict[str, type[Scorer]] = {"rouge": Rouge, "bleu": Bleu, "chrf": Chrf, "chrf++": ChrfPlusPlus}
