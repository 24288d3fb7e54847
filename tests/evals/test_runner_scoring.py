import pytest

from evals.schema import Answer, Failure, Sample, Score, Unjudged
from evals.scorers.base import Scorer, Services
from evals.scorers.text import Exact
from tests.evals.bench import Bench, dataset, right


class Crashing(Scorer):
    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        raise KeyError("missing")


class Generous(Scorer):
    value: float

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        return Score(self.value)


@pytest.mark.parametrize(
    "scorer", [Crashing(), Generous(value=1.01), Generous(value=-0.1), Generous(value=float("nan"))]
)
async def test_a_scorer_that_fails_is_missing_evidence_and_keeps_the_answer(scorer: Scorer) -> None:
    bench = Bench(right)
    await bench.run(dataset(1), scorers={"exact": Exact(), "broken": scorer}).execute()
    (record,) = bench.written
    assert record.failure is not None
    assert (record.outcome, record.failure.kind, record.scores) == ("harness_error", "scorer_crashed", {})
    assert "broken" in record.failure.message
    assert record.answer is not None
    assert record.answer.text == "answer 0"


class Doubtful(Scorer):
    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        raise Unjudged("judge_failed", "cut off")


async def test_a_scorer_says_what_evidence_is_missing() -> None:
    bench = Bench(right)
    await bench.run(dataset(1), scorers={"exact": Exact(), "rubric": Doubtful()}).execute()
    (record,) = bench.written
    assert (record.outcome, record.failure, record.scores) == (
        "harness_error",
        Failure("judge_failed", "rubric: cut off"),
        {},
    )
