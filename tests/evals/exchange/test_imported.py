"""What every importer shares: kinds of failure, scales, scores, tags."""

import math

import pytest

from evals.exchange.imported import Choice, Found, chosen, failure_of, scored, silent, tags_of, value_in_range
from evals.schema import Answer, Failure, ToolCall
from gateway.contracts.errors import InputError


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("API error: 500 Internal Server Error", "server_error"),
        ('API error: 400 Bad Request {"error": {}}', "rejected"),
        ("Error code: 429 - slow down", "limited"),
        ("HTTP status code: 401", "not_allowed"),
        ("status 404", "not_found"),
        ("RetryError(<Future state=finished raised InternalServerError>)", "server_error"),
        ("RateLimitError: wait", "limited"),
        ("Request timed out", "timeout"),
        ("APIConnectionError()", "unreachable"),
        ("connect ECONNREFUSED 127.0.0.1:1", "unreachable"),
        ("CancelledError('scope')", "not_reported"),
        ("the number 500 is large", "not_reported"),
        ("", "not_reported"),
    ],
)
def test_an_error_is_read_for_what_it_clearly_says(message: str, kind: str) -> None:
    found = failure_of(message)
    assert found.kind == kind
    assert found.message


def test_a_long_message_is_cut() -> None:
    assert len(failure_of("x" * 5000).message) == 300


def test_a_scale_turns_worst_into_0_and_best_into_1() -> None:
    assert value_in_range(80, "m", "s", {"m": (0, 100)}) == 0.8
    assert value_in_range(2, "m", "s", {"": (10, 0)}) == 0.8
    assert value_in_range(0.25, "m", "s", {"other": (0, 100)}) == 0.25


def test_a_score_outside_of_its_scale_says_how_to_name_one() -> None:
    with pytest.raises(
        InputError, match=r"'points', sample 's1': expected a score in \[0, 1\], found 80.*--scale points="
    ):
        value_in_range(80, "points", "s1", {})
    with pytest.raises(InputError, match=r"between 0 and 5, as --scale says, found 80"):
        value_in_range(80, "points", "s1", {"points": (0, 5)})


def test_what_is_no_number_is_a_failure_and_never_a_zero() -> None:
    values = {"good": 1, "nan": math.nan, "none": None, "word": "maybe", "yes": True, "huge": -(10**400)}
    scores, failure = scored(Found("s", values=values), ["good", "yes"], Choice())
    assert ({name: score.value for name, score in scores.items()}, failure) == ({"good": 1.0, "yes": 1.0}, None)
    for name, kind in (
        ("nan", "scorer_crashed"),
        ("huge", "scorer_crashed"),
        ("none", "not_measured"),
        ("word", "not_measured"),
    ):
        scores, failure = scored(Found("s", values=values), ["good", name], Choice())
        assert set(scores) == {"good"}
        assert failure is not None
        assert failure.kind == kind
    _, failure = scored(Found("s", values={"inf": math.inf}), ["inf"], Choice(scales={"inf": (0, 5)}))
    assert failure is not None
    assert failure.kind == "scorer_crashed"


def test_an_error_leaves_no_score_behind() -> None:
    failed = Failure("server_error", "500")
    assert scored(Found("s", values={"good": 1}, failure=failed), ["good"], Choice()) == ({}, failed)


def test_an_answer_without_a_word_is_an_error_of_the_system() -> None:
    failure = silent(Answer(text=" \n", finish_reason="length"))
    assert failure == Failure("empty_answer", "neither text nor a tool call; finish_reason 'length'")
    assert silent(Answer(text="x")) is None
    assert silent(Answer(tool_calls=[ToolCall("f")])) is None
    assert silent(None) is None


def test_names_that_were_asked_for_have_to_be_there() -> None:
    assert chosen((), ["a", "b", "a"], "it") == ("a", "b")
    assert chosen(("b",), ["a", "b"], "it") == ("b",)
    with pytest.raises(InputError, match="it has no 'c': it has a, b"):
        chosen(("c",), ["a", "b"], "it")


def test_tags_and_clusters_come_from_what_a_tool_keeps() -> None:
    facts = {"kind": "low", "page": 3}
    assert tags_of(facts, Choice(tag=("kind",), cluster="page"), "s") == (["kind=low"], "page=3")
    assert tags_of(facts, Choice(), "s") == ([], None)
    with pytest.raises(InputError, match="sample 's' has no 'topic' beside it: the keys are kind, page"):
        tags_of(facts, Choice(tag=("topic",)), "s")
