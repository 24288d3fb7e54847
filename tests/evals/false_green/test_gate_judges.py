"""False greens of judges: the one that crashes, skips, wavers, fences its verdict, or always likes the first answer.

The judge is served by the same server as the system, under the name `judge@1`. The same gate passes where the judge
does its work.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.evals.cli.conftest import completion
from tests.evals.false_green.conftest import Release, Reply, number, right
from tests.evals.scorers.rag.scripted import input_of

COUNT = 60
WRONG = completion("no idea")
CLAIMS = ["The number is right.", "The tone is polite."]


def half_right(body: dict) -> tuple[int, dict]:
    return right(body) if number(body) % 2 else WRONG


def verdict(word: object) -> tuple[int, dict]:
    return completion(json.dumps({"reasoning": "by the rubric", "verdict": word}))


def text_of(body: Mapping[str, Any]) -> str:
    return "\n".join(message["content"] for message in body["messages"])


def is_bad(body: Mapping[str, Any]) -> bool:
    """Whether the answer under judgement is a wrong one."""
    return "no idea" in text_of(body)


def honest(body: dict) -> tuple[int, dict]:
    return verdict("fail" if is_bad(body) else "pass")


class Judged:
    """A release whose metric is a judge's."""

    def __init__(self, release: Release) -> None:
        self.release = release
        release.alone = True
        release.samples(COUNT)
        release.suite |= {"judge": {"model": "judge@1", "max_retries": 0}, "scorers": []}
        release.gate |= {"judges_unmeasured": "allow", "metrics": []}

    def metric(self, name: str, at_least: float = 0.85, **options: Any) -> None:
        """The one metric, and its gate."""
        self.release.suite["scorers"].append({"name": name, "as": "quality", **options})
        self.release.gate["metrics"] = [{"metric": "quality", "test": "absolute", "at_least": at_least}]

    def code(self, system: Reply, judge: Reply) -> tuple[int, str]:
        """The exit code of the gate, and what it said in one line."""
        for log in self.release.folder.glob("run.jsonl"):
            log.unlink()

        def reply(body: dict) -> tuple[int, dict]:
            return (judge if body["model"] == "judge@1" else system)(body)

        self.release.run(reply)
        decided = self.release.decide()
        return decided.exit_code, " ".join(decided.output.split())


@pytest.fixture
def judged(release: Release) -> Judged:
    return Judged(release)


def crash(body: dict) -> tuple[int, dict]:
    return (500, {"error": {"message": "out of memory"}}) if is_bad(body) else verdict("pass")


def prose(body: dict) -> tuple[int, dict]:
    return completion("I would rather not say.") if is_bad(body) else verdict("pass")


def off_the_scale(body: dict) -> tuple[int, dict]:
    return verdict("idk") if is_bad(body) else verdict("pass")


def cut_off(body: dict) -> tuple[int, dict]:
    status, answer = verdict("pass")
    answer["choices"][0]["finish_reason"] = "length" if is_bad(body) else "stop"
    return status, answer


def obedient(body: dict) -> tuple[int, dict]:
    """Says that the bad half is fine after the fact, in two verdicts at once."""
    twice = '{"reasoning": "r", "verdict": "fail", "verdict": "pass"}'
    return completion(twice) if is_bad(body) else verdict("pass")


UNUSABLE: dict[str, Reply] = {
    "ragas#2832-the-judge-crashes-on-the-bad-half": crash,
    "lightrag#4040-the-judge-answers-in-prose": prose,
    "deepeval#2248-idk-counts-as-a-pass": off_the_scale,
    "lm-eval#3656-the-judge-runs-out-of-tokens": cut_off,
    "two-verdicts-in-one-answer": obedient,
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_judge_without_a_verdict_on_the_bad_half(judged: Judged, name: str) -> None:
    judged.metric("judge", rubric="The number is right.")
    code, said = judged.code(half_right, UNUSABLE[name])
    assert judged.release.answered(metric="quality") == 1.0  # the mean over the verdicts that are there
    assert (code, "coverage is 50.00%" in said) == (3, True), said
    assert judged.code(right, UNUSABLE[name])[0] == 0


def test_an_honest_judge_of_the_same_release_fails_it(judged: Judged) -> None:
    judged.metric("judge", rubric="The number is right.")
    assert judged.code(half_right, honest)[0] == 1
    assert judged.code(right, honest)[0] == 0


def test_archipelago_97_a_verdict_in_a_fence_is_the_verdict(judged: Judged) -> None:
    """Neither does a fence fail a good answer, nor does it pass a bad one."""

    def fenced(body: dict) -> tuple[int, dict]:
        status, answer = honest(body)
        message = answer["choices"][0]["message"]
        message["content"] = f"```json\n{message['content']}\n```"
        return status, answer

    judged.metric("judge", rubric="The number is right.")
    assert judged.code(right, fenced)[0] == 0
    assert judged.code(half_right, fenced)[0] == 1


def test_hindsight_2050_votes_are_the_same_number_for_every_answer(judged: Judged) -> None:
    """A judge that wavers on bad answers: to ask again where it said `fail` would pass three of four of them."""
    asked: dict[str, int] = {}

    def wavering(body: dict) -> tuple[int, dict]:
        key = text_of(body)
        asked[key] = asked.get(key, 0) + 1
        return verdict("fail" if is_bad(body) and body["seed"] % 2 == 0 else "pass")

    judged.metric("judge", rubric="The number is right.", votes=2)
    code, said = judged.code(half_right, wavering)
    assert code == 1, said
    assert judged.release.answered(metric="quality") == pytest.approx(0.75)
    assert sum(asked.values()) == 2 * COUNT


@pytest.mark.parametrize("place", ["first", "second"])
def test_phoenix_12834_a_judge_that_always_likes_one_place(judged: Judged, place: str) -> None:
    """Asked in one order alone, a bad release wins every comparison; in both orders every one is a tie."""
    judged.metric("pairwise", at_least=0.6, rubric="The better one names the number.")
    code, said = judged.code(lambda body: WRONG, lambda body: verdict(place))
    assert judged.release.answered(metric="quality") == 0.5
    assert code == 1, said
    judged.release.suite["scorers"][0]["rubric"] = "Is it short?"
    assert judged.code(lambda body: WRONG, likes_no_idea)[0] == 0


def likes_no_idea(body: dict) -> tuple[int, dict]:
    """Prefers one answer wherever it stands."""
    text = text_of(body)
    return verdict("first" if text.index("no idea") < text.index("<second-answer") else "second")


def claims(found: list[str], support: Callable[[list[str]], list[dict[str, Any]]]) -> Reply:
    """A judge of faithfulness: what it finds in an answer, and what it says of that."""

    def reply(body: dict) -> tuple[int, dict]:
        given = input_of(body["messages"][0]["content"])
        if body["response_format"]["json_schema"]["name"] == "StatementGeneratorOutput":
            return completion(json.dumps({"statements": found}))
        return completion(json.dumps({"statements": support(given["statements"])}))

    return reply


def says(verdicts: Mapping[str, int]) -> Callable[[list[str]], list[dict[str, Any]]]:
    def support(statements: list[str]) -> list[dict[str, Any]]:
        listed = [(text, verdicts.get(text, 0)) for text in statements]
        return [{"statement": text, "reason": "r", "verdict": found} for text, found in listed]

    return support


def faithful(judged: Judged, contexts: Callable[[int], list[str]]) -> None:
    judged.release.samples(COUNT, contexts=contexts)
    judged.metric("faithfulness")


GOOD = claims(CLAIMS, says(dict.fromkeys(CLAIMS, 1)))


def test_ragas_faithfulness_a_judge_that_skips_the_hard_statement(judged: Judged) -> None:
    faithful(judged, lambda i: [f"The number is {i}."])
    skips = claims(CLAIMS, lambda statements: says({CLAIMS[0]: 1})(statements[:1]))
    code, said = judged.code(right, skips)
    assert (code, "coverage is 0.00%" in said) == (3, True), said
    assert judged.code(right, GOOD)[0] == 0


def test_deepeval_faithfulness_an_answer_without_claims_is_not_perfect(judged: Judged) -> None:
    faithful(judged, lambda i: [f"The number is {i}."])
    code, said = judged.code(lambda body: WRONG, claims([], says({})))
    assert code == 1, said
    assert judged.code(right, GOOD)[0] == 0


def test_ragas_collections_no_contexts_are_the_worst_retrieval(judged: Judged) -> None:
    """Half of the questions come back without a passage: they count as unsupported, instead of leaving the mean."""
    faithful(judged, lambda i: [] if i % 2 else [f"The number is {i}."])
    code, said = judged.code(right, GOOD)
    assert code == 1, said
    assert judged.release.answered(metric="quality") == 0.5


def test_a_judge_that_nobody_measured_decides_nothing(judged: Judged) -> None:
    judged.metric("judge", rubric="The number is right.")
    judged.release.gate["judges_unmeasured"] = "refuse"
    code, said = judged.code(right, honest)
    assert (code, "the gate names no card of it" in said) == (3, True), said
