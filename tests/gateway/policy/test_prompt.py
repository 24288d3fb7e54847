"""The same prompt however its JSON is written, and another one where an engine would render another."""

import json
import tracemalloc
from typing import Any

import pytest

from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.prompt import MOST_TURNS, canonical, output_limit
from gateway.policy.request import parse
from gateway.policy.shapes import Request

CHAT, TEXT, ANSWERS, MESSAGES = (
    ENDPOINTS[f"/v1/{name}"] for name in ("chat/completions", "completions", "responses", "messages")
)
USER = {"role": "user", "content": "hello"}
PATHS = {"chat": CHAT, "completions": TEXT, "responses": ANSWERS, "messages": MESSAGES}


def asked(wire: str = "chat", **fields: Any) -> Request:
    """A parsed body."""
    return parse(json.dumps({"model": "faq", **fields}).encode(), PATHS[wire])


def prompt(wire: str = "chat", release: str | None = None, **fields: Any) -> bytes:
    """What is hashed of it, with the prompt of a release."""
    return b"".join(canonical(asked(wire, **fields), release))


def test_keys_and_spaces_make_no_difference() -> None:
    one = b'{"model":"faq","messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"hi"}]}'
    other = b"""{ "messages" : [ {"content": "hello", "role" :"user"},
        {"content":  "hi","role":"assistant"} ], "model": "faq", "temperature": 1}"""
    assert b"".join(canonical(parse(one, CHAT))) == b"".join(canonical(parse(other, CHAT))) != b""


def test_a_longer_conversation_begins_like_the_one_before_it() -> None:
    before = prompt(messages=[USER])
    after = prompt(messages=[USER, {"role": "assistant", "content": "hi"}, USER])
    assert after.startswith(before)


@pytest.mark.parametrize(
    "changed",
    [
        {"messages": [{"role": "user", "content": "other"}]},
        {"messages": [{"role": "system", "content": "hello"}]},
        {"messages": [{**USER, "name": "a"}]},
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"id": "1"}]}]},
        {"messages": [USER], "tools": [{"type": "function"}]},
        {"messages": [USER], "cache_salt": "mine"},
        {"messages": [USER], "chat_template_kwargs": {"enable_thinking": False}},
    ],
)
def test_what_an_engine_renders_otherwise_is_another_prompt(changed: dict[str, Any]) -> None:
    assert prompt(**changed) != prompt(messages=[USER])


def test_what_an_engine_does_not_render_changes_nothing() -> None:
    assert prompt(messages=[USER], seed=1, max_tokens=9, stream=True) == prompt(messages=[USER])


@pytest.mark.parametrize(
    ("wire", "fields", "its_own"),
    [
        ("chat", {"messages": [USER]}, {"messages": [{"role": "system", "content": "mine"}, USER]}),
        ("chat", {"messages": [USER]}, {"messages": [{"role": "developer", "content": "mine"}, USER]}),
        ("messages", {"messages": [USER], "max_tokens": 9}, {"system": "mine"}),
        ("responses", {"input": "hello"}, {"instructions": "mine"}),
        ("responses", {"input": [USER]}, {"instructions": "mine"}),
    ],
)
def test_the_releases_prompt_comes_first_unless_the_request_brings_its_own(
    wire: str, fields: dict[str, Any], its_own: dict[str, Any]
) -> None:
    assert prompt(wire, "be brief", **fields) == b'"be brief"' + prompt(wire, **fields)
    assert b"be brief" not in prompt(wire, "be brief", **{**fields, **its_own})
    assert b"mine" in prompt(wire, "be brief", **{**fields, **its_own})


def test_every_wire_with_a_prompt_has_one() -> None:
    assert prompt("completions", "unused", prompt="hello") == b'"hello"'
    assert prompt("completions", prompt=[1, 2]) == b"[1, 2]"
    assert b"hello" in prompt("messages", messages=[USER], max_tokens=9)
    assert prompt("responses", input="hello") == b'"hello"'
    item = {"type": "function_call_output", "call_id": "1", "output": "42"}
    assert b'"42"' in prompt("responses", input=[USER, item])


@pytest.mark.parametrize("messages", ["no list", [1], {"role": "user"}, None, [["role"]]])
def test_what_cannot_be_read_has_no_prompt(messages: Any) -> None:
    assert canonical(asked(messages=messages)) == []


def test_what_has_no_prompt_has_none() -> None:
    assert canonical(parse(b'{"model":"m","input":"hello"}', ENDPOINTS["/v1/embeddings"])) == []
    assert canonical(parse(b'{"model":"m"}', TEXT)) == []
    assert b"".join(canonical(parse(b'{"model":"m"}', CHAT))) == b""


@pytest.mark.parametrize(
    ("wire", "fields", "default", "limit"),
    [
        ("chat", {}, None, None),
        ("chat", {}, 48, 48),
        ("chat", {"max_tokens": 9}, 48, 9),
        ("chat", {"max_tokens": 9, "max_completion_tokens": 7}, None, 7),
        ("responses", {"max_output_tokens": 5}, None, 5),
        ("chat", {"max_tokens": 9, "stream": True, "n": 3}, None, 27),
        ("chat", {"max_tokens": 9, "best_of": 4}, None, 36),
        # The release's own is written where there is none, and null is one: it leaves the answer open.
        ("chat", {"max_tokens": None}, 48, None),
        ("chat", {"max_completion_tokens": None}, 48, None),
        ("chat", {"max_completion_tokens": None, "max_tokens": 9}, 48, 9),
        ("chat", {"max_tokens": 0}, 48, None),
        # Names of another wire, which the engine does not read.
        ("chat", {"max_output_tokens": 1}, None, None),
        ("chat", {"max_output_tokens": 1}, 48, 48),
        ("completions", {"max_completion_tokens": 1}, None, None),
        ("responses", {"max_tokens": 1}, None, None),
        ("responses", {}, 48, 48),
        # Anthropic's own demands it, and no release gives it.
        ("messages", {}, 48, None),
        ("messages", {"max_tokens": 9}, 48, 9),
        ("completions", {"prompt": ["a", "b"], "max_tokens": 9, "n": 2}, None, 36),
        ("completions", {"prompt": ["a", "b"]}, 48, 96),
    ],
)
def test_how_long_an_answer_may_be(wire: str, fields: dict[str, Any], default: int | None, limit: int | None) -> None:
    content = {"input": "x"} if wire == "responses" else {"messages": [USER]}
    assert output_limit(asked(wire, **content, **fields), default) == limit


@pytest.mark.parametrize(("fields", "limit"), [({}, 48), ({"max_completion_tokens": "9"}, 9)])
def test_how_long_a_transcript_may_be(fields: dict[str, str], limit: int) -> None:
    parts = [
        f"--X\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n"
        for name, value in {"model": "faq", **fields}.items()
    ]
    body = "".join([*parts, "--X--\r\n"]).encode()
    request = parse(body, ENDPOINTS["/v1/audio/transcriptions"], b"multipart/form-data; boundary=X")
    assert output_limit(request, 48) == limit


@pytest.mark.parametrize("path", ["/v1/embeddings", "/rerank", "/tokenize", "/v1/messages/count_tokens"])
def test_what_generates_nothing_takes_nothing(path: str) -> None:
    assert output_limit(parse(b'{"model":"m","input":"hello","max_tokens":5}', ENDPOINTS[path]), 48) == 0


@pytest.mark.parametrize(("wire", "name"), [("chat", "messages"), ("responses", "input"), ("messages", "messages")])
def test_a_body_of_nothing_but_turns_takes_no_more_than_its_bytes(wire: str, name: str) -> None:
    body = b'{"model":"faq","system":"x","%b":[%b{}]}' % (name.encode(), b"{}," * 100_000)
    request = parse(body, PATHS[wire])
    tracemalloc.start()
    try:
        pieces = canonical(request)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert b"".join(pieces) == b'"x"' + bytes(request.fields[name])
    assert peak < 2 * len(body)


def test_a_long_conversation_taken_as_written_begins_like_the_one_before_it() -> None:
    before = prompt(messages=[USER] * (MOST_TURNS + 1))
    assert prompt(messages=[USER] * (MOST_TURNS + 2)).startswith(before[:-1])
    assert prompt(messages=[USER] * (MOST_TURNS + 1), system="other") != before
