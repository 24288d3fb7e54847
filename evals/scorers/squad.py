"""Exact match and F1 of words, as the evaluation scripts of SQuAD 1.1 and 2.0 count them.

Rajpurkar et al. 2016 (arXiv 1606.05250) and 2018 (arXiv 1806.03822). Text is normalised first (lower case, no ASCII
punctuation, no English articles, single spaces); the best reference counts. A question that has no answer carries an
empty reference: an answer without any words scores 1 there, every other one 0. References without words are left out
when others have some, as the script does it.
"""

from evals.schema import Answer, Sample, Score
from evals.scorers.base import Scorer, Services, references
from evals.scorers.text import normalise


class _Squad(Scorer):
    needs = "reference"

    no_answer: tuple[str, ...] = ()

    def _said(self, answer: Answer) -> str:
        said = normalise(answer.text)
        return "" if any(said == normalise(phrase) for phrase in self.no_answer) else said


class SquadEm(_Squad):
    """1 when the normalised answer is a normalised reference (SQuAD's exact match).

    An empty reference means that the question has no answer. `no_answer` lists what a model says instead of nothing
    ("unanswerable"): such an answer counts as an empty one.
    """

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """1 or 0."""
        return Score(float(self._said(answer) in _wanted(sample)))


class SquadF1(_Squad):
    """F1 of the words that the answer and a reference share, the best reference counts (SQuAD's F1).

    An empty reference means that the question has no answer. `no_answer` lists what a model says instead of nothing
    ("unanswerable"): such an answer counts as an empty one.
    """

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1]: twice the shared words over all words of both, each as often as it occurs."""
        said = self._said(answer).split()
        return Score(max(f1(said, wanted.split()) for wanted in _wanted(sample)))


def f1(said: list[str], wanted: list[str]) -> float:
    """F1 of two bags of words. Two empty ones agree; one empty one shares nothing with the other."""
    if said == wanted:
        return 1.0
    left: dict[str, int] = {}
    for word in wanted:
        left[word] = left.get(word, 0) + 1
    shared = 0
    for word in said:
        if left.get(word):
            left[word] -= 1
            shared += 1
    return 2 * shared / (len(said) + len(wanted)) if shared else 0.0


def _wanted(sample: Sample) -> list[str]:
    """The references, normalised; one empty text when none of them has a word."""
    return [text for text in map(normalise, references(sample)) if text] or [""]


SCORERS: dict[str, type[Scorer]] = {"squad_em": SquadEm, "squad_f1": SquadF1}
