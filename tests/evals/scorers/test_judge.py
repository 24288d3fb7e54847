import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from pydantic import ValidationError

from evals import dataset, run_log
from evals.judge_config import JudgeConfig
from evals.lines import Record
from evals.schema import Answer, Sample, Unjudged
from evals.scorers import known
from evals.scorers.base import NoServices
from evals.scorers.judge import Judge, Pairwise, judge_digest
from tests.evals.judge_bench import Bench, Refusal, Reply, Said, asked, verdict

SAMPLE = Sample(id="a", input="What is the capital of France?", reference="Paris")
ANSWER = Answer(text="It is Paris.", finish_reason="stop")


async def judged(scorer: Judge | Pairwise, reply: Reply, sample: Sample = SAMPLE, answer: Answer = ANSWER):
    bench = Bench(reply)
    async with bench.services() as services:
        return await scorer.examine(sample, answer, services), bench


# A verdict


@pytest.mark.parametrize(("word", "value"), [("pass", 1.0), ("fail", 0.0)])
async def test_a_binary_verdict_is_a_score(word: str, value: float) -> None:
    found, bench = await judged(Judge(rubric="correct"), lambda body: verdict(word, "it says Paris"))
    assert (found.score.value, found.score.votes, found.flips) == (value, [value], None)
    assert found.score.explanation == f"{word}: it says Paris"
    form = bench.bodies[0]["response_format"]["json_schema"]
    assert list(form["schema"]["properties"]) == ["reasoning", "verdict"]
    assert (form["strict"], form["schema"]["additionalProperties"]) == (True, False)


@pytest.mark.parametrize(("grade", "value"), [(1, 0.0), (2, 0.25), (5, 1.0)])
async def test_grades_are_spread_over_the_scale(grade: int, value: float) -> None:
    found, bench = await judged(Judge(rubric="good", scale=5), lambda body: verdict(grade))
    assert found.score.value == value
    enum = bench.bodies[0]["response_format"]["json_schema"]["schema"]["properties"]["verdict"]
    assert enum == {"type": "integer", "enum": [1, 2, 3, 4, 5]}


async def test_each_criterion_is_judged_by_itself() -> None:
    scorer = Judge(criteria={"tone": "polite", "facts": "true"}, scale=5, votes=2)

    def reply(body: dict) -> str:
        return verdict(5 if "tone: polite" in asked(body) else 1 + body["seed"])

    found, bench = await judged(scorer, reply)
    assert len(bench.bodies) == 4
    assert all(("tone: polite" in asked(body)) != ("facts: true" in asked(body)) for body in bench.bodies)
    assert found.score.votes == [0.5, 0.625]
    assert found.score.value == 0.5625
    assert found.score.explanation == "tone: 5 (because); facts: 1 (because)"


async def test_votes_are_kept_and_their_mean_is_the_value() -> None:
    found, bench = await judged(Judge(rubric="r", votes=3), lambda body: verdict("pass" if body["seed"] else "fail"))
    assert found.score.value == pytest.approx(2 / 3)
    assert found.score.votes == [0.0, 1.0, 1.0]
    assert sorted(body["seed"] for body in bench.bodies) == [0, 1, 2]


@pytest.mark.parametrize("word", ["pass", "fail"])
async def test_good_and_bad_verdicts_get_the_same_number_of_votes(word: str) -> None:
    _, bench = await judged(Judge(rubric="r", votes=4), lambda body: verdict(word))
    assert len(bench.bodies) == 4


async def test_the_scorers_model_goes_before_the_suites() -> None:
    _, bench = await judged(Judge(rubric="r", model="judge@9"), lambda body: verdict("pass"))
    assert bench.bodies[0]["model"] == "judge@9"


# No verdict


FAULTS: dict[str, str | Said | Refusal] = {
    "prose": "I would say it passes.",
    "another scale": verdict("excellent"),
    "a number": verdict(1),
    "no reasoning": '{"verdict": "pass"}',
    "no verdict": '{"reasoning": "fine"}',
    "another key": '{"reasoning": "x", "verdict": "pass", "confidence": 1}',
    "a key twice": '{"reasoning": "x", "verdict": "fail", "verdict": "pass"}',
    "a list": '["pass"]',
    "NaN": '{"reasoning": "x", "verdict": NaN}',
    "two objects": verdict("pass") + verdict("pass"),
    "cut off": Said('{"reasoning": "it is', "length"),
    "cut off after a verdict": Said(verdict("pass"), "length"),
    "filtered": Said(verdict("pass"), "content_filter"),
    "empty": "",
    "refused": Refusal(400),
    "down": Refusal(503),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_anything_else_is_no_verdict(fault: str) -> None:
    with pytest.raises(Unjudged) as failed:
        await judged(Judge(rubric="r"), lambda body: FAULTS[fault])
    assert failed.value.kind == "judge_failed"


@pytest.mark.parametrize("grade", [0, 6, 4.0, 4.5, "4", True, None])
async def test_a_grade_off_the_scale_is_no_verdict(grade: object) -> None:
    with pytest.raises(Unjudged, match=r"scale \(1, 2, 3, 4, 5\)"):
        await judged(Judge(rubric="r", scale=5), lambda body: json.dumps({"reasoning": "", "verdict": grade}))


@pytest.mark.parametrize("form", ["```json\n{}\n```", "```\n{}\n```", "  {}\n"])
async def test_a_fence_is_forgiven(form: str) -> None:
    found, _ = await judged(Judge(rubric="r"), lambda body: form.replace("{}", verdict("pass")))
    assert found.score.value == 1.0


async def test_one_missing_vote_leaves_the_sample_unjudged() -> None:
    for bad in range(3):
        bench = Bench(lambda body, bad=bad: "prose" if body["seed"] == bad else verdict("pass"))
        async with bench.services() as services:
            with pytest.raises(Unjudged):
                await Judge(rubric="r", votes=3).score(SAMPLE, ANSWER, services)
        assert len(bench.bodies) == 3


async def test_one_missing_criterion_leaves_the_sample_unjudged() -> None:
    scorer = Judge(criteria={"tone": "polite", "facts": "true"})
    with pytest.raises(Unjudged):
        await judged(scorer, lambda body: verdict("pass") if "tone" in asked(body) else "{}")


async def test_a_busy_judge_is_asked_again() -> None:
    bench = Bench(lambda body: Refusal(429, {"Retry-After": "3"}) if len(bench.bodies) == 1 else verdict("pass"))
    async with bench.services() as services:
        assert (await Judge(rubric="r").score(SAMPLE, ANSWER, services)).value == 1.0
    assert bench.slept == [3.0]


async def test_the_runs_deadline_is_not_the_judges_fault() -> None:
    async with Bench(lambda body: verdict("pass")).services(ends_at=0.0) as services:
        with pytest.raises(Unjudged) as failed:
            await Judge(rubric="r").score(SAMPLE, ANSWER, services)
    assert failed.value.kind == "deadline"


async def test_nobody_to_ask() -> None:
    with pytest.raises(Unjudged):
        await Judge(rubric="r").score(SAMPLE, ANSWER, NoServices())


@pytest.mark.parametrize("options", [{}, {"rubric": ""}, {"rubric": "r", "votes": 0}, {"rubric": "r", "scale": 2}])
def test_a_judge_needs_something_to_judge_by(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Judge(**options)


# Two answers


def prefers(text: str) -> Reply:
    """A judge that knows what it wants, wherever it stands."""
    return lambda body: verdict("first" if asked(body).index(text) < asked(body).index("</first-answer") else "second")


PAIR = {
    "a win": (prefers("It is Paris."), 1.0, 0.0),
    "a loss": (prefers("Lyon"), 0.0, 0.0),
    "a tie": (lambda body: verdict("tie"), 0.5, 0.0),
    "the first, always": (lambda body: verdict("first"), 0.5, 1.0),
    "the second, always": (lambda body: verdict("second"), 0.5, 1.0),
}


@pytest.mark.parametrize("case", PAIR)
async def test_both_orders_are_asked_and_disagreement_is_a_tie(case: str) -> None:
    reply, value, flips = PAIR[case]
    sample = Sample(id="a", input="?", reference="Lyon it is")
    found, bench = await judged(Pairwise(rubric="right"), reply, sample)
    assert (found.score.value, found.flips, len(bench.bodies)) == (value, flips, 2)
    assert found.score.explanation.startswith("the order flipped 1 of 1" if flips else "both orders agree")
    assert bench.bodies[0]["seed"] == bench.bodies[1]["seed"]


async def test_a_win_in_one_order_and_a_tie_in_the_other_is_a_tie() -> None:
    sample = Sample(id="a", input="?", reference="Lyon")
    found, _ = await judged(
        Pairwise(rubric="r"),
        lambda body: verdict("first" if asked(body).index("Paris") < asked(body).index("Lyon") else "tie"),
        sample,
    )
    assert (found.score.value, found.flips) == (0.5, 1.0)


async def test_pairwise_votes_are_kept() -> None:
    sample = Sample(id="a", input="?", reference="Lyon")
    scorer = Pairwise(rubric="r", votes=2)
    found, bench = await judged(
        scorer, lambda body: verdict("first") if body["seed"] else prefers("Paris")(body), sample
    )
    assert (found.score.votes, found.score.value, found.flips, len(bench.bodies)) == ([1.0, 0.5], 0.75, 0.5, 4)


async def test_one_missing_order_leaves_the_sample_unjudged() -> None:
    def reply(body: dict) -> str:
        return prefers("Paris")(body) if asked(body).index("Paris") < asked(body).index("Lyon") else "prose"

    with pytest.raises(Unjudged):
        await judged(Pairwise(rubric="r"), reply, Sample(id="a", input="?", reference="Lyon"))


async def test_two_equal_answers_are_a_tie_that_nobody_is_asked_about() -> None:
    found, bench = await judged(Pairwise(rubric="r", votes=2), lambda body: "x", SAMPLE, Answer(text=" Paris "))
    assert (found.score.value, found.score.votes, bench.bodies) == (0.5, [0.5, 0.5], [])


async def test_a_sample_without_a_rival() -> None:
    with pytest.raises(ValueError, match="no reference to compare with"):
        await judged(Pairwise(rubric="r"), lambda body: "x", Sample(id="a", input="?"))


@pytest.fixture
def live(make_log: Callable[..., Path], tmp_path: Path) -> Path:
    return make_log(tmp_path / "live.jsonl", {"a": 1.0, "b": "missing", "c": "system"})


async def test_the_rival_may_be_a_runs_answer(live: Path, tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    said = Record(id="a", digest=dataset.sample_digest(SAMPLE), outcome="scored", answer=Answer(text="Lyon"))
    with run_log.Writer(path, run_log.read(live).manifest) as writer:
        writer.write(msgspec.structs.replace(said, epoch=1, answer=Answer(text="later")))
        writer.write(said)
    found, bench = await judged(Pairwise(rubric="r", against=str(path)), prefers("It is Paris."))
    assert found.score.value == 1.0
    assert "\nLyon\n</second-answer" in asked(bench.bodies[0])


@pytest.mark.parametrize(
    ("id_", "text"), [("a", "another version"), ("b", "no answer"), ("c", "no answer"), ("z", "no")]
)
async def test_a_rival_that_has_no_answer_gives_no_win(live: Path, id_: str, text: str) -> None:
    with pytest.raises(Unjudged, match=text) as failed:
        await judged(Pairwise(rubric="r", against=str(live)), lambda body: "x", Sample(id=id_, input="?"))
    assert failed.value.kind == "not_measured"


def test_another_run_than_the_one_that_was_named(live: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="another run"):
        Pairwise(rubric="r", against=str(live), against_sha256="sha256:" + "0" * 64)
    with pytest.raises(ValidationError, match="no readable run log"):
        Pairwise(rubric="r", against=str(tmp_path / "none.jsonl"))


# The digest


IDENTITY = JudgeConfig(model="judge@3").identity()


@pytest.mark.parametrize(
    "other",
    [
        Judge(rubric="other"),
        Judge(rubric="r", votes=2),
        Judge(rubric="r", scale=5),
        Judge(rubric="r", model="judge@4"),
        Judge(rubric="r", reference=False),
        Judge(rubric="r", criteria={"tone": "polite"}),
        Pairwise(rubric="r"),
    ],
)
def test_what_changes_a_verdict_changes_the_digest(other: Judge | Pairwise) -> None:
    assert judge_digest(other, IDENTITY) != judge_digest(Judge(rubric="r"), IDENTITY)


def test_the_digest_is_that_of_model_and_parameters_too(live: Path) -> None:
    same = judge_digest(Judge(rubric="r", model="judge@3"), IDENTITY)
    assert judge_digest(Judge(rubric="r"), IDENTITY) == same
    assert judge_digest(Judge(rubric="r"), JudgeConfig(model="judge@3", temperature=1).identity()) != same
    against = Pairwise(rubric="r", against=str(live))
    assert judge_digest(against, IDENTITY) == judge_digest(Pairwise(rubric="r"), IDENTITY)


def test_a_scorer_that_asks_nobody_has_none() -> None:
    assert judge_digest(known()["exact"](), IDENTITY) is None


def test_labels_of_each_scale() -> None:
    assert Judge(rubric="r").label_values() == {0: 0.0, 1: 1.0, "fail": 0.0, "pass": 1.0}
    assert Judge(rubric="r", scale=3).label_values() == {1: 0.0, 2: 0.5, 3: 1.0}
    assert Pairwise(rubric="r").label_values() == {0: 0.0, 0.5: 0.5, 1: 1.0, "loss": 0.0, "tie": 0.5, "win": 1.0}
    assert known()["exact"]().label_values() == {}
