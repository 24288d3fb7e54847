"""Numbers of a body that cost money: read as the engine reads them, and bounded before they are multiplied."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidRequest
from gateway.policy import counts
from gateway.policy.counts import BOUNDS, MOST_CHOICES, MOST_TOKENS, answers, choices, number, stated
from gateway.policy.endpoints import CHAT, ENDPOINTS
from gateway.policy.request import parse
from gateway.policy.shapes import Request

TEXT, RESPONSES = ENDPOINTS["/v1/completions"], ENDPOINTS["/v1/responses"]
JSON = [endpoint for endpoint in ENDPOINTS.values() if endpoint.wire != "audio"]
FORM = "--X\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n"


def _parse(raw: str, endpoint: Any = CHAT) -> Request:
    return parse(('{"model":"faq",' + raw + "}").encode(), endpoint)


def _refused(raw: str, endpoint: Any = CHAT) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        _parse(raw, endpoint)
    return caught.value


def _form(**values: str) -> Request:
    fields = "".join(FORM.format(name=name, value=value) for name, value in {"model": "faq", **values}.items())
    body = fields.encode() + b"--X--\r\n"
    return parse(body, ENDPOINTS["/v1/audio/transcriptions"], b"multipart/form-data; boundary=X")


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("endpoint", JSON, ids=lambda endpoint: endpoint.path)
def test_a_number_that_cannot_be_meant_is_refused_by_name(endpoint: Any, name: str) -> None:
    bad = ["-2", "1.5", "1e999", "-1e999", "1e30", "9" * 40, '"many"', '"-5"', '"1e3"', '""', "[]", "{}", "[1]"]
    bad += [str(BOUNDS[name][1] + 1), str(2**63), '"' + "9" * 400 + '"', "9" * 5000, '"\\u0035"']
    for told in bad:
        error = _refused(f'"{name}":{told}', endpoint)
        assert (error.status, error.param) == (400, name)
        assert f"the field {name!r} should be a whole number from {BOUNDS[name][0]} to {BOUNDS[name][1]}" in str(error)


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "nan", "+1", "01", "0x10", "1_000", ".5"])
def test_what_is_not_json_is_refused_as_such(name: str, word: str) -> None:
    assert "the body is not a JSON object" in str(_refused(f'"{name}":{word}'))


@pytest.mark.parametrize("name", ["max_tokens", "n", "best_of", "top_logprobs"])
@pytest.mark.parametrize("flag", ["true", "false"])
def test_a_flag_is_no_number(name: str, flag: str) -> None:
    assert _refused(f'"{name}":{flag}').param == name
    assert _parse(f'"logprobs":{flag}').model == "faq"


@pytest.mark.parametrize("name", BOUNDS)
def test_what_engines_take_passes(name: str) -> None:
    least, most = BOUNDS[name]
    for told in ("null", "0", "-0", "1", "5.0", "1e3", '"7"', str(least), str(most)):
        assert _parse(f'"{name}":{told}').model == "faq"


def test_a_refusal_does_not_repeat_what_the_client_wrote() -> None:
    assert "secret" not in str(_refused('"max_tokens":"my secret"'))


@pytest.mark.parametrize(
    ("told", "value"), [("null", None), ("0", 0), ("-0", 0), ("12", 12), ("1e3", 1000), ("12.0", 12), ('"0012"', 12)]
)
def test_a_number_is_read_however_it_is_written(told: str, value: int | None) -> None:
    assert number(told.encode()) == value


@given(st.integers(-(2**70), 2**70))
def test_every_whole_number_is_read_or_far_out_of_bounds(value: int) -> None:
    found = number(str(value).encode())
    assert found == value or (found is not None and abs(found) > 2**50 and abs(found - value) <= abs(value) >> 50)


@given(st.text(max_size=12) | st.floats().map(str))
def test_whatever_else_it_is_it_is_no_number(text: str) -> None:
    told = json.dumps(text).encode()
    try:
        found = number(told)
    except (ValueError, OverflowError):
        return
    assert found == int(text)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        ('"max_tokens":1000000,"n":10000', "max_tokens"),
        ('"max_tokens":9,"max_completion_tokens":1000000,"n":10000', "max_completion_tokens"),
        ('"max_tokens":1000000,"best_of":10000', "max_tokens"),
    ],
)
def test_all_answers_together_are_bounded(raw: str, param: str) -> None:
    assert _refused(raw).param == param
    assert "times the number of answers should be at most" in str(_refused(raw))


def test_all_prompts_together_are_bounded() -> None:
    prompts = ",".join(['"a"'] * 3000)
    assert _refused(f'"prompt":[{prompts}],"max_tokens":1000000', TEXT).param == "max_tokens"
    assert _parse(f'"prompt":[{prompts}],"max_tokens":1000', TEXT).model == "faq"
    assert _parse(f'"prompt":[{prompts}],"max_tokens":1000000').model == "faq", "a chat has no prompts"


def test_the_largest_request_that_passes_costs_what_a_ledger_holds() -> None:
    dearest = 1_000_000  # per million tokens
    assert MOST_TOKENS * dearest // 1_000_000 * 10**9 < 2**63
    assert MOST_CHOICES < MOST_TOKENS


@pytest.mark.parametrize(("told", "count"), [("null", 1), ("0", 1), ("1", 1), ("3", 3), ('"2"', 2), ("4.0", 4)])
def test_choices_are_read_as_the_engine_reads_them(told: str, count: int) -> None:
    assert _parse(f'"n":{told}').choices == choices(_parse(f'"n":{told}').fields) == count


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        ("", 1),
        ('"prompt":null', 1),
        ('"prompt":"a"', 1),
        ('"prompt":[]', 1),
        ('"prompt":["a"]', 1),
        ('"prompt":[1,2,3]', 1),
        ('"prompt":[                      1,2,3]', 1),
        ('"prompt":["a",  "b"]', 2),
        ('"prompt":[ [1,2] , [3] , [4] ]', 3),
        ('"prompt":["a","b"],"n":2', 4),
        ('"prompt":["a","b"],"n":2,"best_of":5', 10),
        ('"prompt":["a","b"],"best_of":null', 2),
        ('"prompt":"a","prompt_embeds":["x","y"]', 3),
    ],
)
def test_every_prompt_has_its_answers(raw: str, count: int) -> None:
    request = _parse(raw or '"seed":1', TEXT)
    assert answers(request.fields, request.endpoint.wire) == count


def test_a_name_of_another_wire_says_nothing() -> None:
    fields = _parse('"max_output_tokens":1,"max_tokens":7').fields
    assert [stated(fields, wire) for wire in ("chat", "completions", "responses", "messages", "pooling")] == [
        7, 7, 1, 7, None,
    ]  # fmt: skip
    assert answers(_parse('"n":3', RESPONSES).fields, "responses") == 1


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1.5", "9" * 30, "many", "[]"])
def test_a_form_has_numbers_too(value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _form(max_completion_tokens=value)
    assert caught.value.param == "max_completion_tokens"


@pytest.mark.parametrize("value", ["", "0", "448", "null"])
def test_a_forms_numbers_pass(value: str) -> None:
    assert _form(max_completion_tokens=value).model == "faq"


def test_a_request_knows_the_limit_that_it_states() -> None:
    assert [_parse(raw).limit for raw in ('"n":2', '"max_tokens":null', '"max_tokens":7', '"max_tokens":"0"')] == [
        None, None, 7, 0,
    ]  # fmt: skip
    assert _parse('"max_tokens":7', RESPONSES).limit is None
    assert [_form(max_completion_tokens=value).limit for value in ("", "448", "null")] == [None, 448, None]


def test_every_wire_that_generates_has_a_limit() -> None:
    silent = {"count_tokens", "pooling", "tokenize"}
    assert set(counts.LIMITS) == {endpoint.wire for endpoint in ENDPOINTS.values()} - silent
