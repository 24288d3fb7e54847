"""False greens that begin with an answer that did not come, or that is none: each ends as anything but `pass`.

Each case says what the field's tools made of it. The same gate passes the same release when it is healthy, and there is
a reading of each broken run that would have passed: the share of the answers that happened to be right.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.evals.cli.conftest import completion
from tests.evals.false_green.conftest import Release, Reply, number, right

WRONG = completion("no idea")


def answering(when: Callable[[int], bool], otherwise: tuple[int, dict]) -> Reply:
    """Right, except for the questions for which `when` is true."""
    return lambda body: otherwise if when(number(body)) else right(body)


def error(status: int, code: str) -> tuple[int, dict]:
    return status, {"error": {"message": code, "code": code}}


def without_text(finish_reason: str, text: str | None) -> tuple[int, dict]:
    status, body = completion("")
    body["choices"][0] |= {"finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    return status, body


def half(i: int) -> bool:
    return i % 2 == 0


def tenth(i: int) -> bool:
    return i % 10 == 3


class Case(NamedTuple):
    """How the candidate breaks, the exit code of its gate, and a word of the reason."""

    candidate: Reply
    code: int
    because: str


def some_wrong_some_failed(body: dict) -> tuple[int, dict]:
    """80 of 100 right, 10 wrong, 10 crashed: 88.9 % of those that answered."""
    i = number(body) % 10
    return WRONG if i == 1 else error(500, "engine died") if i == 3 else right(body)


CASES = {
    "inspect#3707-errored-samples-leave-the-denominator": Case(some_wrong_some_failed, 1, "-0.2000"),
    "weave#7758-crashes-on-half-its-rows": Case(answering(half, error(500, "boom")), 1, "proven worse"),
    "opik#8197-the-mean-of-the-five-that-did-not-crash": Case(answering(half, error(502, "boom")), 1, "proven worse"),
    "pydantic-evals-failures-leave-every-average": Case(answering(half, error(400, "bad")), 1, "proven worse"),
    "phoenix#15425-a-third-of-the-runs-errored": Case(
        answering(lambda i: i % 3 == 0, error(429, "limited")), 3, "evidence is missing"
    ),
    "uniswap#122-rate-limited-cases-are-in-neither-count": Case(
        answering(lambda i: i < 31, error(429, "rate_limit_exceeded")), 3, "coverage is 74.17%"
    ),
    "promptfoo-errors-are-neither-success-nor-failure": Case(
        answering(tenth, error(401, "invalid key")), 3, "coverage is 90.00%"
    ),
    "ragas-collections-an-empty-answer-vanishes": Case(answering(half, without_text("stop", "")), 1, "proven worse"),
    "lm-eval#3656-a-thinking-model-runs-out-of-tokens": Case(
        answering(half, without_text("length", None)), 1, "proven worse"
    ),
    "inspect#4286-an-answer-that-is-no-completion": Case(answering(half, (200, {"choices": []})), 1, "proven worse"),
    "nobody-answers-at-all": Case(lambda body: error(503, "release_not_gated"), 3, "missing"),
    "everything-is-an-error-of-the-system": Case(lambda body: error(500, "boom"), 1, "proven worse"),
}


def test_the_healthy_release_passes(release: Release) -> None:
    assert release.run(right).exit_code == 0
    decided = release.decide()
    assert decided.exit_code == 0, decided.output


@pytest.mark.parametrize("name", CASES)
def test_a_missing_answer_never_passes(release: Release, name: str) -> None:
    case = CASES[name]
    release.run(case.candidate)
    assert release.answered() >= 0.85  # what a mean over the answers that are there would have said
    decided = release.decide()
    assert (decided.exit_code, case.because in decided.output) == (case.code, True), decided.output


def test_ragas_1850_timeouts_are_missing_evidence_and_no_score(release: Release, stalling) -> None:
    release.suite["timeout_s"] = 0.3
    release.run(stalling(lambda i: i % 20 == 7))
    decided = release.decide()
    assert decided.exit_code == 3
    assert "coverage is 95.00%" in decided.output


def test_errors_on_both_sides_make_no_room(release: Release) -> None:
    """A baseline that fails on the same half would cancel out, if its failures counted as 0."""
    broken = answering(half, error(500, "boom"))
    release.gate["metrics"] = release.gate["metrics"][:1]
    release.run(broken, baseline=broken)
    assert release.decide().exit_code in (1, 2, 3)


def test_deepeval_3234_one_missing_score_does_not_poison_the_run(release: Release) -> None:
    """The opposite error: one missing score of 120 is counted at its worst, and the rest still decides."""
    release.run(answering(lambda i: i == 7, error(429, "limited")))
    decided = release.decide("--json")
    assert decided.exit_code == 0, decided.output
    assert '"missing_candidate":1' in decided.stdout
    assert '"candidate_score":0.99166' in decided.stdout
