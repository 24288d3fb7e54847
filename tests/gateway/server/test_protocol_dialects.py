"""What a connection refuses is told in the dialect of the path that was asked for."""

import json
from typing import Any

import pytest

from gateway.contracts.envelopes import Dialect
from gateway.server.limits import Limits
from tests.gateway.listening import GET, Site, body_of, post, say, site

LIMITS = Limits(head_bytes=1000, head_s=0.03, body_s=0.03, linger_s=0.03)
CHUNKED = b"POST %b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
REFUSED: dict[str, tuple[int, str, bytes]] = {
    "a bad length": (400, "invalid_request_error", b"POST %b HTTP/1.1\r\ncontent-length: x\r\n\r\n"),
    "a bad chunk": (400, "invalid_request_error", CHUNKED + b"zz\r\n"),
    "a large head": (431, "invalid_request_error", b"POST %b HTTP/1.1\r\nx: " + b"v" * 1000 + b"\r\n\r\n"),
    "a head that stalls": (408, "invalid_request_error", b"POST %b HTTP/1.1\r\nx: "),
    "a body that stalls": (408, "invalid_request_error", b"POST %b HTTP/1.1\r\ncontent-length: 2\r\n\r\na"),
    "no answer": (500, "api_error", b"POST %b HTTP/1.1\r\nfail: 1\r\ncontent-length: 0\r\n\r\n"),
}
"""What is refused: its status, its type for Anthropic's clients, and what was sent to a path."""
PATHS: dict[bytes, Dialect] = {
    b"/v1/messages": "anthropic",
    b"/v1/messages?beta=true": "anthropic",
    b"http://h/v1/messages/count_tokens": "anthropic",
    b"/v1/messages/batches": "anthropic",
    b"/v1/chat/completions": "openai",
    b"/v1/responses": "openai",
    b"/v1/messagesx": "openai",
    b"*": "openai",
}


async def _app(scope: Any, receive: Any, send: Any) -> None:
    body = await body_of(receive)
    if body is not None and (b"fail", b"1") not in scope["headers"]:
        await say(send, b"ok")


def _check(body: bytes, dialect: Dialect, kind: str) -> None:
    told = json.loads(body)
    if dialect == "anthropic":
        assert (told["type"], told["error"]["type"]) == ("error", kind)
    else:
        assert told.keys() == {"error"}
        assert told["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_is_in_the_dialect_of_its_path(name: str, path: bytes) -> None:
    status, kind, said = REFUSED[name]
    async with site(_app, limits=LIMITS) as running, running.talk(said % path) as talk:
        found, _, body = await talk.answer()
        assert found == status
        _check(body, PATHS[path], kind)


@pytest.mark.parametrize("paths", [(b"/v1/messages", b"/a"), (b"/a", b"/v1/messages")])
@pytest.mark.parametrize("name", REFUSED)
async def test_the_path_is_that_of_the_request_which_is_refused(name: str, paths: tuple[bytes, bytes]) -> None:
    """A connection may carry requests of both APIs."""
    status, kind, said = REFUSED[name]
    before, path = paths
    async with site(_app, limits=LIMITS) as running, running.talk(post(b"a", path=before) + said % path) as talk:
        assert (await talk.answer())[0] == 200
        found, _, body = await talk.answer()
        assert found == status
        _check(body, PATHS.get(path, "openai"), kind)


@pytest.mark.parametrize("path", PATHS)
async def test_too_many_requests_are_refused_in_the_dialect_of_the_path(path: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with running.talk(b"GET %b HTTP/1.1\r\n\r\n" % path) as second:
            status, _, body = await second.answer()
            assert status == 503
            _check(body, PATHS[path], "overloaded_error")
        await say(send, b"ok")

    running: Site
    async with site(app, limit_concurrency=1) as running, running.talk(GET) as first:
        assert (await first.answer())[0] == 200


async def test_what_has_no_path_is_told_as_openai_tells_it() -> None:
    said = post(b"a", path=b"/v1/messages") + b"\x16\x03\x01\x02"
    async with site(_app) as running, running.talk(said) as talk:
        assert (await talk.answer())[0] == 200
        status, _, body = await talk.answer()
        assert status == 400
        _check(body, "openai", "")
