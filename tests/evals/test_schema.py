import msgspec
import pytest

from evals.schema import HARNESS_FAILURES, SYSTEM_FAILURES, Sample, ToolCall, Unjudged, outcome_of


def test_every_kind_of_failure_has_exactly_one_outcome() -> None:
    assert not set(SYSTEM_FAILURES) & set(HARNESS_FAILURES)
    assert {outcome_of(kind) for kind in SYSTEM_FAILURES} == {"system_error"}
    assert {outcome_of(kind) for kind in HARNESS_FAILURES} == {"harness_error"}


def test_a_kind_outside_the_closed_set_is_an_error() -> None:
    with pytest.raises(KeyError, match="bad_luck"):
        outcome_of("bad_luck")


@pytest.mark.parametrize(("reference", "expected"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_references_are_a_list_whatever_the_file_says(reference: object, expected: list[str]) -> None:
    assert msgspec.convert({"id": "1", "input": "q", "reference": reference}, Sample).references() == expected


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (Sample(id="a", input="first"), "first"),
        (Sample(id="a", input="first", follow_ups=["second", "third"]), "third"),
        (Sample(id="a", input=[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]), "q"),
        (Sample(id="a", input=[{"role": "system", "content": "s"}]), ""),
        (Sample(id="a", input=[{"role": "user", "content": [{"type": "text", "text": "q"}]}]), ""),
    ],
)
def test_the_question_is_what_the_user_asks_last(sample: Sample, expected: str) -> None:
    assert sample.question() == expected


def test_missing_evidence_has_a_kind_of_the_closed_set() -> None:
    assert Unjudged("judge_failed", "why").kind == "judge_failed"
    with pytest.raises(KeyError, match="server_error"):
        Unjudged("server_error", "an error of the system is no missing evidence")


def test_an_unknown_key_of_a_tool_call_is_refused() -> None:
    assert msgspec.convert({"name": "f"}, ToolCall) == ToolCall("f", {})
    with pytest.raises(msgspec.ValidationError, match="args"):
        msgspec.convert({"name": "f", "args": {}}, ToolCall)
