import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from evals.client import UNREADABLE, Client, Result
from evals.schema import ToolCall
from gateway.contracts.errors import InputError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "5 dollars"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}},
    "system_fingerprint": "vllm-0.32.0",
}
HEADERS = {
    "x-tollgate-release": "faq@2",
    "x-tollgate-digest": "sha256:" + "b" * 64,
    "x-tollgate-replica": "r1",
    "x-tollgate-cost": "0.0000123",
}


@asynccontextmanager
async def endpoint(handler: Handler, key: str | None = "sk-tg-1") -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    app.router.add_get("/v1/models", handler)
    ticks = itertools.count(start=0.0, step=0.25)
    async with (
        TestServer(app) as server,
        Client(str(server.make_url("/v1")), key, connections=4, clock=lambda: next(ticks)) as client,
    ):
        yield client


async def call(handler: Handler, timeout_s: float = 5.0) -> Result:
    async with endpoint(handler) as client:
        return await client.complete(b'{"model": "faq@2"}', timeout_s)


def always(status: int, body: object, headers: dict[str, str] | None = None) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)

    return handle


async def test_an_answer_is_read_with_its_usage_and_headers() -> None:
    seen = {}

    async def handle(request: web.Request) -> web.Response:
        seen.update(auth=request.headers["Authorization"], body=await request.read())
        return web.json_response(COMPLETION, headers=HEADERS)

    result = await call(handle)
    assert seen == {"auth": "Bearer sk-tg-1", "body": b'{"model": "faq@2"}'}
    assert result.failure is None
    answer = result.answer
    assert answer is not None
    assert (answer.text, answer.finish_reason, answer.fingerprint) == ("5 dollars", "stop", "vllm-0.32.0")
    assert (answer.input_tokens, answer.output_tokens, answer.cached_tokens) == (12, 3, 8)
    assert (answer.release, answer.release_digest) == (HEADERS["x-tollgate-release"], HEADERS["x-tollgate-digest"])
    assert (answer.replica, answer.cost, answer.latency_s) == ("r1", "0.0000123", 0.25)


async def test_an_engine_without_a_gateway_gives_no_release() -> None:
    result = await call(always(200, COMPLETION))
    assert result.answer is not None
    assert (result.answer.release, result.answer.release_digest, result.answer.cost) == (None, None, None)


async def test_without_a_key_no_authorization_is_sent() -> None:
    seen = []

    async def handle(request: web.Request) -> web.Response:
        seen.append("Authorization" in request.headers)
        return web.json_response(COMPLETION)

    async with endpoint(handle, key=None) as client:
        await client.complete(b"{}", 5.0)
    assert seen == [False]


def error(message: str, code: object) -> dict[str, object]:
    return {"error": {"message": message, "type": "x", "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable"),
    [
        (400, error("too long", "context_length_exceeded"), "rejected", False),
        (400, error("bad role", 400), "rejected", False),
        (413, error("too large", "body_too_large"), "rejected", False),
        (401, error("no such key", "invalid_api_key"), "not_allowed", False),
        (403, error("not yours", "permission_denied"), "not_allowed", False),
        (404, error("no such model", "model_not_found"), "not_found", False),
        (429, error("slow down", "rate_limited"), "limited", True),
        (500, "<html>oops</html>", "server_error", True),
        (502, error("engine died", "upstream_failed"), "server_error", True),
        (503, error("busy", "upstream_overloaded"), "server_error", True),
        (503, error("no verdict", "release_not_gated"), "not_gated", False),
    ],
)
async def test_refusals_are_classified(status: int, body: object, kind: str, retryable: bool) -> None:
    result = await call(always(status, body, HEADERS))
    assert result.failure is not None
    assert (result.failure.kind, result.retryable) == (kind, retryable)
    assert str(status) in result.failure.message
    assert result.answer is not None
    assert result.answer.release == "faq@2"


@pytest.mark.parametrize(
    "body",
    ["", "not json", "[]", "{}", '{"choices": []}', '{"error": {"message": "in disguise"}}', '{"choices": [{"x": 1}]}'],
)
async def test_a_200_that_is_no_completion_is_a_failure_of_the_system(body: str) -> None:
    result = await call(always(200, body))
    assert result.failure is not None
    assert (result.failure.kind, result.retryable) == ("bad_response", False)


def turn(message: dict[str, object]) -> dict[str, object]:
    return COMPLETION | {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": "tool_calls"}]}


async def test_tool_calls_are_an_answer_without_text() -> None:
    called = {"id": "1", "type": "function", "function": {"name": "price", "arguments": '{"plan": "Free"}'}}
    result = await call(always(200, turn({"content": None, "tool_calls": [called]})))
    assert result.failure is None
    assert result.answer is not None
    assert result.answer.tool_calls == [ToolCall("price", {"plan": "Free"})]


@pytest.mark.parametrize("arguments", ["{", "[]", "plan=Free", '{"a":' + "[" * 5_000 + "]" * 5_000 + "}"])
async def test_arguments_that_are_no_object_stay_visible(arguments: str) -> None:
    result = await call(always(200, turn({"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]})))
    assert result.answer is not None
    assert result.answer.tool_calls == [ToolCall("f", {UNREADABLE: arguments})]


@pytest.mark.parametrize("content", [None, "", "  \n"])
async def test_a_completion_without_text_is_a_failure_of_the_system(content: str | None) -> None:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "length"}
    result = await call(always(200, COMPLETION | {"choices": [choice]}))
    assert result.failure is not None
    assert result.failure.kind == "empty_answer"
    assert "length" in result.failure.message
    assert result.answer is not None
    assert result.answer.output_tokens == 3


@pytest.mark.parametrize(("header", "expected"), [("7", 7.0), ("0.5", 0.5), ("Wed, 21 Oct", None), ("-1", None)])
async def test_retry_after_is_read_in_seconds(header: str, expected: float | None) -> None:
    assert (await call(always(429, "{}", {"Retry-After": header}))).retry_after == expected


async def test_no_answer_in_time_is_a_timeout() -> None:
    release = web.Response()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)  # the headers come, the body never does
        await request.content.wait_eof()
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b" ")
        return release

    result = await call(handle, timeout_s=0.2)
    assert result.failure is not None
    assert (result.failure.kind, result.retryable) == ("timeout", True)


async def test_a_connection_that_breaks_is_unreachable() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    result = await call(handle)
    assert result.failure is not None
    assert (result.failure.kind, result.retryable, result.answer) == ("unreachable", True, None)


async def test_nothing_at_the_address_is_unreachable() -> None:
    async with Client(f"http://127.0.0.1:{unused_port()}/v1", None, connections=1, clock=lambda: 0.0) as client:
        result = await client.complete(b"{}", 5.0)
        assert result.failure is not None
        assert result.failure.kind == "unreachable"
        with pytest.raises(InputError, match="gateway serve"):
            await client.reach(5.0)


async def test_reach_says_that_no_key_was_sent() -> None:
    async with endpoint(always(401, {}), key=None) as client:
        with pytest.raises(InputError, match=r"none was sent: export a virtual key as TOLLGATE_API_KEY"):
            await client.reach(5.0)


async def test_reach_refuses_a_key_that_is_not_taken() -> None:
    async with endpoint(always(401, "{}")) as client:
        with pytest.raises(InputError, match="--api-key-env"):
            await client.reach(5.0)


@pytest.mark.parametrize("status", [200, 403, 404, 500])
async def test_reach_is_content_with_any_other_answer(status: int) -> None:
    async with endpoint(always(status, "{}")) as client:
        await client.reach(5.0)


async def test_a_redirect_is_a_wrong_address_and_is_not_followed() -> None:
    elsewhere = always(308, "", {"Location": "https://other.example/v1"})
    async with endpoint(elsewhere) as client:
        with pytest.raises(InputError, match="name that address with --base-url"):
            await client.reach(5.0)
        result = await client.complete(b"{}", 5.0)
    assert result.failure is not None
    assert (result.failure.kind, result.retryable) == ("not_found", False)
    assert "https://other.example/v1" in result.failure.message


@pytest.mark.parametrize("url", ["http://user:secret@h/v1", "http://h/v1?key=secret", "http://h:port/v1", "http://"])
def test_an_address_that_holds_more_or_less_than_a_place_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="--base-url: ") as caught:
        Client(url, None, connections=1, clock=lambda: 0.0)
    assert "secret" not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_without_being_told() -> None:
    with pytest.raises(InputError, match="'Authorization'") as caught:
        Client("http://127.0.0.1:1/v1", "sk-\nsecret", connections=1, clock=lambda: 0.0)
    assert "secret" not in str(caught.value)


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(InputError, match="http://HOST:PORT/v1"):
        Client("127.0.0.1:8080", None, connections=1, clock=lambda: 0.0)


async def test_a_client_that_is_not_open_says_so() -> None:
    client = Client("http://127.0.0.1:1/v1", None, connections=1, clock=lambda: 0.0)
    with pytest.raises(RuntimeError, match="async with"):
        await client.complete(b"{}", 1.0)
