"""Bodies pass as they came: what a release or metering does not demand keeps every byte."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidRequest
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.request import MOST_FIELDS, REFUSED, Request, parse, prepare
from tests.engine import recordings
from tests.gateway.builders import release

CHAT, TEXT, EMBED = (ENDPOINTS[path] for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"))
PLAIN = release()
STRICT = release(prompt={"system": "be brief"}, sampling={"temperature": 0.5, "max_tokens": 9, "stop": ["\n"]})

SPACES = st.text(" \t\n\r", max_size=3)
NUMBERS = ["0", "-0", "-0.0", "1.0", "1E5", "1e-07", "0.10", "9" * 40, "1e999", "12345678901234567890.123456789"]
STRINGS = ['""', '"\\u00e9"', '"é"', '"\\ud83d\\ude00"', '"😀"', '"\\/"', '"a\\"usage\\":{"', '"\\u0000"', '" \\n "']
SCALARS = st.sampled_from(["null", "true", "false", *NUMBERS, *STRINGS])


def _joined(parts: list[str], opening: str, closing: str, space: str) -> str:
    return opening + space + f"{space},{space}".join(parts) + space + closing


ARRAYS = st.deferred(lambda: st.builds(_joined, st.lists(VALUES, max_size=3), st.just("["), st.just("]"), SPACES))
MEMBERS = st.deferred(lambda: st.lists(st.builds("{}:{}".format, st.sampled_from(STRINGS), VALUES), max_size=3))
OBJECTS = st.builds(_joined, MEMBERS, st.just("{"), st.just("}"), SPACES)
VALUES: st.SearchStrategy[str] = SCALARS | ARRAYS | OBJECTS
FIELDS = st.dictionaries(st.sampled_from(["cache_salt", "vllm_xargs", "tools", "é", 'q"q', "logit_bias"]), VALUES)


def _body(fields: dict[str, str], space: str = "") -> bytes:
    members = [f"{json.dumps(name)}{space}:{space}{value}" for name, value in fields.items()]
    return (space + _joined(members, "{", "}", space) + space).encode()


def _parse(body: bytes | dict[str, Any], endpoint: Any = CHAT) -> Request:
    return parse(body if isinstance(body, bytes) else json.dumps({"model": "faq", **body}).encode(), endpoint)


def _sent(body: dict[str, Any], release: Any = PLAIN, endpoint: Any = CHAT) -> Any:
    return json.loads(prepare(_parse(body, endpoint), release, "faq"))


def _refused(body: bytes | dict[str, Any], endpoint: Any = CHAT) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        prepare(_parse(body, endpoint), STRICT, "faq")
    return caught.value


@settings(deadline=None)
@given(FIELDS, SPACES, st.booleans())
def test_untouched_values_are_forwarded_byte_for_byte(fields: dict[str, str], space: str, stream: bool) -> None:
    own = {"model": '"faq"', "messages": '[ {"role":"user","content":"\\u00e9 é"} ]'}
    body = _body({**own, **({"stream": "true"} if stream else {}), **fields}, space)
    sent = prepare(_parse(body), STRICT, "other")
    raw = msgspec.json.decode(sent, type=dict[str, msgspec.Raw])
    assert {name: bytes(raw[name]) for name in fields} == {name: value.encode() for name, value in fields.items()}
    assert own["messages"].strip("[ ]").encode() in sent
    assert json.loads(sent)["model"] == "other"


@settings(deadline=None)
@given(FIELDS, SPACES)
def test_a_body_that_needs_no_change_is_the_same_bytes(fields: dict[str, str], space: str) -> None:
    body = _body({"model": '"faq"', **fields}, space)
    assert prepare(_parse(body), PLAIN, "faq") is body


def test_a_recorded_request_passes_as_it_was_sent() -> None:
    for name in ("chat", "chat_n2_stop_seed", "chat_stream_continuous_usage", "chat_content_parts"):
        sent = recordings.load(name).sent
        assert prepare(_parse(sent), PLAIN, "tiny") == sent


def test_of_a_duplicate_key_the_last_one_counts_everywhere() -> None:
    body = b'{"model":"first","model":"faq","stream":false,"stream":true,"x":1,"x":2}'
    request = _parse(body)
    assert (request.model, request.stream) == ("faq", True)
    sent = prepare(request, PLAIN, "faq")
    assert json.loads(sent) == {
        "model": "faq",
        "stream": True,
        "x": 2,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    assert sent.count(b'"model"') == sent.count(b'"stream"') == sent.count(b'"x"') == 1


def test_a_key_written_with_escapes_is_the_same_key() -> None:
    body = b'{"mod\\u0065l":"faq","str\\u0065am":true}'
    assert (_parse(body).model, _parse(body).stream) == ("faq", True)
    assert _refused(b'{"model":"faq","priorit\\u0079":1}').param == "priority"


@pytest.mark.parametrize("name", REFUSED)
def test_a_dangerous_field_does_not_pass(name: str) -> None:
    error = _refused({name: None})
    assert error.param == name
    assert REFUSED[name] in error.message


def test_a_structural_tag_passes_where_the_engine_reads_it() -> None:
    error = _refused({"structural_tag": "{}"})
    assert (error.param, "`structured_outputs.structural_tag`" in error.message) == ("structural_tag", True)
    read = {"structured_outputs": {"structural_tag": "{}"}, "response_format": {"type": "structural_tag"}}
    assert _sent(read) == {"model": "faq", **read}


def test_law_10_of_several_refused_fields_always_the_same_one_is_named() -> None:
    assert _refused(dict.fromkeys(reversed(REFUSED), 1)).param == next(iter(REFUSED))


def test_a_dangerous_name_inside_a_value_is_the_clients_own() -> None:
    assert _sent({"tools": [{"priority": 1}]})["tools"] == [{"priority": 1}]


@pytest.mark.parametrize(
    "body",
    [b"[]", b'"x"', b"1", b"null", b"{", b'{"model":"faq"', b'{"model":"faq"}x', b'{"model":NaN}', b"\xff", b" "],
)
def test_what_is_not_an_object_is_refused(body: bytes) -> None:
    assert "not a JSON object" in _refused(body).message


def test_an_empty_body_is_refused() -> None:
    assert "empty" in _refused(b"").message


@pytest.mark.parametrize("body", [b'{"\xff":1}', b'{"model":"\xff"}', b'{"model":"\\ud800"}', b'{"\\udc00":1}'])
def test_text_that_is_not_unicode_is_refused(body: bytes) -> None:
    assert _refused(body).status == 400


def test_law_9_a_refusal_does_not_repeat_the_body() -> None:
    for body in (b'{"messages":"my secret', b'{"model":"faq","stream":"my secret"}', b'["my secret"]'):
        assert "my secret" not in _refused(body).message


@pytest.mark.parametrize("field", ["x", "stream_options", "messages", "model"])
@settings(deadline=None)
@given(depth=st.integers(1, 3_000))
def test_any_depth_is_read_or_refused(field: str, depth: int) -> None:
    body = b'{"model":"faq","stream":true,"%b":%b%b}' % (field.encode(), b'{"a":[' * depth, b"]}" * depth)
    with suppress(InvalidRequest):
        prepare(_parse(body), STRICT, "faq")


def test_nesting_beyond_reason_is_refused_by_name() -> None:
    assert "nested too deeply" in _refused(b'{"x":' + b"[" * 200_000).message


@pytest.mark.parametrize("value", [None, 1, ["faq"], {"a": 1}, True])
def test_a_model_is_a_string(value: Any) -> None:
    error = _refused({"model": value})
    assert (error.param, "a string" in error.message) == ("model", True)


def test_a_missing_model_says_where_to_find_one() -> None:
    assert "/v1/models" in _refused(b"{}").message


@pytest.mark.parametrize("value", ["yes", 1, "true", [], 0])
def test_stream_is_a_boolean(value: Any) -> None:
    assert _refused({"stream": value}).param == "stream"


def test_stream_may_be_null() -> None:
    assert _parse({"stream": None, "stream_options": None}).stream is False


def test_embeddings_do_not_stream() -> None:
    assert _refused({"stream": True}, EMBED).param == "stream"


def test_the_pools_name_for_the_model_is_the_one_that_is_sent() -> None:
    assert json.loads(prepare(_parse({}), PLAIN, "/models/faq")) == {"model": "/models/faq"}
    # Pinned by name, the engine still hears its own.
    assert json.loads(prepare(_parse(b'{"model":"faq@1"}'), PLAIN, "faq")) == {"model": "faq"}


def test_sampling_defaults_fill_what_the_request_leaves_open() -> None:
    defaults = {"temperature": 0.5, "max_tokens": 9, "stop": ["\n"]}
    assert _sent({"prompt": "p"}, STRICT, TEXT) == {"model": "faq", "prompt": "p", **defaults}


@pytest.mark.parametrize(
    "own", [{"temperature": 0}, {"temperature": 2, "stop": []}, {"max_tokens": 1}, {"stop": "x", "top_p": 0.1}]
)
def test_a_request_keeps_its_own_sampling(own: dict[str, Any]) -> None:
    assert _sent(own, STRICT).items() >= own.items()


def test_max_completion_tokens_counts_as_max_tokens() -> None:
    sent = _sent({"max_completion_tokens": 100}, STRICT)
    assert sent["max_completion_tokens"] == 100
    assert "max_tokens" not in sent
    assert sent["temperature"] == 0.5


def test_embeddings_take_neither_sampling_nor_prompt() -> None:
    body = _parse({"input": "a"}, EMBED)
    assert prepare(body, STRICT, "faq") is body.body


def test_the_releases_prompt_comes_first() -> None:
    user = {"role": "user", "content": "hi"}
    assert _sent({"messages": [user]}, STRICT)["messages"] == [{"role": "system", "content": "be brief"}, user]


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_conversation_with_instructions_of_its_own_keeps_them(role: str, place: int) -> None:
    messages = [{"role": "user", "content": "hi"}]
    messages.insert(place, {"role": role, "content": "mine"})
    assert _sent({"messages": messages}, STRICT)["messages"] == messages


def test_a_role_written_with_escapes_is_the_same_role() -> None:
    body = b'{"model":"faq","messages":[{"role":"\\u0073ystem","content":"mine"}]}'
    assert len(json.loads(prepare(_parse(body), STRICT, "faq"))["messages"]) == 1


def test_text_completions_get_no_prompt() -> None:
    assert "messages" not in _sent({"prompt": "p"}, STRICT, TEXT)


@pytest.mark.parametrize("body", [{}, {"messages": []}], ids=["missing", "empty"])
def test_a_prompt_does_not_make_a_conversation_of_nothing(body: dict[str, Any]) -> None:
    # The engine refuses these, and has to go on doing so.
    sent = _sent(body, STRICT)
    assert ({"messages": sent["messages"]} if "messages" in sent else {}) == body


@pytest.mark.parametrize("messages", ["hi", 1, {"role": "user"}, [1], ["hi"], [None], [[]]])
def test_messages_of_another_shape_are_refused_by_name(messages: Any) -> None:
    error = _refused({"messages": messages})
    assert error.param == "messages"
    assert "messages" in error.message


def test_no_more_fields_are_kept_than_any_api_has() -> None:
    """What is kept of a field takes twenty times the bytes of a short one, and a request may run for long."""
    few = dict.fromkeys(map(str, range(MOST_FIELDS - 2)), 1)
    assert len(_parse({"messages": [], **few}).fields) == MOST_FIELDS
    many = few | {"a": 1, "b": 1, "c": 1}
    for body in (many, {"messages": [], "stream": True, "stream_options": many}):
        assert f"at most {MOST_FIELDS} fields" in _refused(body).message


@pytest.mark.parametrize("role", [None, 1, ["system"], {"system": 1}])
def test_a_role_of_another_type_is_the_engines_to_judge(role: Any) -> None:
    messages = [{"role": role, "content": "hi"}]
    assert _sent({"messages": messages}, STRICT)["messages"][1:] == messages
