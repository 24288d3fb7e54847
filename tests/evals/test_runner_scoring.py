import pytest

from evals.lines import Record
from evals.runner import UNANIMOUS, UNJUDGED
from evals.schema import Answer, Failure, Sample, Score, Unjudged
from evals.scorers.base import Scorer, Services
from evals.scorers.text import Exact
from gateway.contracts.errors import InputError
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
    assert (record.outcome, record.failure.kind) == ("harness_error", "scorer_crashed")
    assert record.scores == {"exact": Score(1.0)}, "what could be judged is kept"
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
        {"exact": Score(1.0)},
    )


async def test_a_judge_without_any_verdict_ends_the_run() -> None:
    bench = Bench(right)
    with pytest.raises(InputError, match=r"the first 2\d answers got no verdict; the last: rubric: cut off: with"):
        await bench.run(dataset(500), scorers={"exact": Exact(), "rubric": Doubtful()}).execute()
    assert UNANIMOUS <= len(bench.written) < UNANIMOUS + 4


class Moody(Scorer):
    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        if sample.id != "s3":
            raise Unjudged("judge_failed", "cut off")
        return Score(1.0)


async def test_one_verdict_is_enough_to_go_on() -> None:
    bench = Bench(right)
    await bench.run(dataset(60), scorers={"rubric": Moody()}).execute()
    assert len(bench.written) == 60


class Counting(Scorer):
    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        return Score(0.5, answer.text)


@pytest.mark.parametrize("kind", sorted(UNJUDGED))
async def test_a_resumed_run_judges_the_answer_that_it_has(kind: str) -> None:
    before = Record(
        id="s0",
        digest="d",
        outcome="harness_error",
        scores={"exact": Score(0.0, "as it was")},
        failure=Failure(kind, "rubric: cut off"),
        answer=Answer(text="an answer of before", latency_s=1.5),
        attempts=2,
    )
    bench = Bench(right)
    bench.existing = (before,)
    await bench.run(dataset(2), scorers={"exact": Exact(), "rubric": Counting()}).execute()
    again, other = sorted(bench.written, key=lambda record: record.id)
    assert bench.attempts == {"question 1": 1}, "the answer was asked for again"
    assert (again.answer, again.attempts, again.outcome, again.failure) == (before.answer, 2, "scored", None)
    assert again.scores == {"exact": Score(0.0, "as it was"), "rubric": Score(0.5, "an answer of before")}
    assert other.scores["exact"] == Score(1.0)


async def test_an_answer_that_failed_is_asked_for_again() -> None:
    bench = Bench(right)
    failed = Failure("timeout", "")
    bench.existing = (
        Record(id="s0", digest="d", outcome="harness_error", failure=failed, answer=Answer(text="half an answer")),
    )
    await bench.run(dataset(1)).execute()
    assert bench.attempts == {"question 0": 1}
