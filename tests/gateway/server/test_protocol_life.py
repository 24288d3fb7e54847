"""Other ways to the server, other clients than ours, and its end."""

import asyncio
import json
import logging
import shutil
import socket
import ssl
from pathlib import Path
from typing import Any

import fastapi
import httpx
import openai
import pytest
from fastapi.responses import StreamingResponse

from gateway.contracts.errors import InternalError, UpstreamOverloaded
from gateway.server.protocol import Direct
from tests.gateway.listening import GET, SECONDS, Talk, echo, post, say, site
from tests.gateway.servers import self_signed


async def _path(scope: Any, receive: Any, send: Any) -> None:
    await say(send, scope["path"].encode())


class Held:
    """An application that answers when it is let, in two pieces."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.begun = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/begins":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        self.begun.set()
        await self.let.wait()
        if scope["path"] == "/begins":
            await send({"type": "http.response.body", "body": b"ended"})
        else:
            await _path(scope, receive, send)


@pytest.mark.parametrize("fails", [RuntimeError("secret"), None], ids=["raises", "returns"])
async def test_an_application_that_does_not_answer(fails: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})  # a head alone has not left yet
        if fails is not None:
            raise fails

    async with site(app) as running, running.talk(GET + GET) as talk:
        status, headers, body = await talk.answer()
        assert (status, headers[b"connection"]) == (500, b"close")
        assert json.loads(body)["error"]["code"] == InternalError.code
        assert b"secret" not in body
        assert await talk.rest() == b""
    assert [(record.name, record.levelno) for record in caplog.records] == [("tollgate", logging.ERROR)]


async def test_an_application_that_fails_within_its_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise RuntimeError

    async with site(app) as running, running.talk(GET + GET) as talk:
        said = await talk.rest()
        assert said.endswith(b"1\r\na\r\n")
        assert b" 500 " not in said
    assert len(caplog.records) == 1


async def test_an_application_that_fails_after_its_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"ok")
        raise RuntimeError

    async with site(app) as running, running.talk(GET + GET) as talk:
        assert [(await talk.answer())[2] for _ in range(2)] == [b"ok"] * 2
    assert len(caplog.records) == 2


@pytest.mark.parametrize("path", [b"/", b"/begins"])
async def test_a_shutdown_ends_idle_connections_and_lets_answers_end(path: bytes) -> None:
    app = Held()
    async with site(app) as running, running.talk() as idle, running.talk(GET[:9]) as half:
        async with running.talk(GET.replace(b"/a", path) + GET) as talk:
            await asyncio.wait_for(app.begun.wait(), SECONDS)
            ending = asyncio.ensure_future(running.server.shutdown())
            assert await idle.rest() == await half.rest() == b""
            assert running.state.tasks
            app.let.set()
            said = await talk.rest()
            assert said.count(b"HTTP/1.1 200") == 1
            assert (b"connection: close" in said) == (path == b"/")
            assert said.endswith(b"ended\r\n0\r\n\r\n" if path == b"/begins" else b"/")
        await asyncio.wait_for(ending, SECONDS)


@pytest.mark.parametrize("path", [b"/", b"/begins"])
async def test_a_shutdown_that_takes_too_long_ends_them_all(path: bytes) -> None:
    app = Held()
    async with site(app, timeout_graceful_shutdown=0.01) as running, running.talk(GET.replace(b"/a", path)) as talk:
        await asyncio.wait_for(app.begun.wait(), SECONDS)
        ending = asyncio.ensure_future(running.server.shutdown())
        said = await talk.rest()
        assert (b" 500 " in said) == (path == b"/")
        await asyncio.wait_for(ending, SECONDS)


async def test_tls(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    client = ssl.create_default_context(cafile=str(certificate))
    schemes: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        schemes.append(scope["scheme"])
        if scope["method"] == "POST":
            await say(send, b"early", status=413)
        else:
            await echo(scope, receive, send)

    async with site(app, ssl_certfile=str(certificate), ssl_keyfile=str(key)) as running:
        async with running.talk(GET + post(bytes(5_000_000)), ssl=client, server_hostname="localhost") as talk:
            assert [(await talk.answer())[0] for _ in range(2)] == [200, 413]
        async with running.talk(GET) as plain:
            assert await plain.rest() == b""
    assert schemes == ["https"] * 2


async def test_a_unix_socket(tmp_path: Path) -> None:
    asked: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append((scope["client"], scope["server"], scope["scheme"]))
        await say(send, b"ok")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        async with site(app, sockets=[listener]):
            talk = Talk(*await asyncio.open_unix_connection(str(tmp_path / "s")))
            talk.say(GET)
            assert (await talk.answer())[2] == b"ok"
            talk.cut()
    assert asked == [(None, None, "http")]


async def test_who_talks_to_whom() -> None:
    asked: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append((scope["client"], scope["server"]))
        await say(send, b"ok")

    async with site(app) as running, running.talk(GET) as talk:
        await talk.answer()
        assert asked == [(talk.writer.get_extra_info("sockname"), ("127.0.0.1", running.port))]


def _fastapi() -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.post("/v1/chat/completions")
    async def complete(request: fastapi.Request) -> Any:
        asked = await request.json()
        chunk = {"id": "1", "created": 0, "model": "m", "object": "chat.completion.chunk"}
        text = asked["messages"][0]["content"]
        if not asked.get("stream"):
            message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            return chunk | {"object": "chat.completion", "choices": [message]}
        words = [{"index": 0, "delta": {"content": word}} for word in text.split(" ")]
        events = [f"data: {json.dumps(chunk | {'choices': [word]})}\n\n" for word in words]
        return StreamingResponse(iter([*events, "data: [DONE]\n\n"]), media_type="text/event-stream")

    @app.get("/items/{name}", status_code=201)
    async def item(name: str, n: int) -> Any:
        return {"name": name, "n": n}

    return app


async def test_fastapi_and_openais_client() -> None:
    question: Any = {"model": "m", "messages": [{"role": "user", "content": "a b c"}]}
    async with (
        site(_fastapi()) as running,
        openai.AsyncOpenAI(api_key="k", base_url=f"{running.url}/v1", max_retries=0) as client,
    ):
        for _ in range(2):
            answer = await client.chat.completions.create(**question)
            assert answer.choices[0].message.content == "a b c"
            stream = await client.chat.completions.create(**question, stream=True)
            assert [chunk.choices[0].delta.content async for chunk in stream] == ["a", "b", "c"]
        assert len(running.state.connections) == 1


async def test_fastapi_and_httpx() -> None:
    async def body() -> Any:
        yield b'{"messages": [{"content": '
        yield b'"x"}]}'

    async with site(_fastapi()) as running, httpx.AsyncClient(base_url=running.url) as client:
        found = await client.get("/items/a b", params={"n": 3})
        assert (found.status_code, found.json()) == (201, {"name": "a b", "n": 3})
        assert (await client.get("/items/a")).status_code == 422
        assert (await client.head("/nowhere")).status_code == 404
        assert "x" in (await client.post("/v1/chat/completions", content=body())).text
        assert len(running.state.connections) == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("flag", ["--http1.1", "--http1.0", "--http2"])
async def test_curl(flag: str) -> None:
    async with site(echo) as running:
        big = "x" * 1_500_000  # beyond 1 MiB, curl waits for 100
        urls = f"{running.url}/a?b=c", f"{running.url}/d"
        curl = await asyncio.create_subprocess_exec(
            *["curl", "-sS", flag, "--max-time", "5", "--data-binary", "@-", *urls],
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await curl.communicate(big.encode())
        assert (curl.returncode, err) == (0, b"")
        first, end = json.JSONDecoder().raw_decode(out.decode())
        assert (first["method"], first["query"], len(first["body"])) == ("POST", "b=c", len(big))
        assert json.loads(out.decode()[end:])["path"] == "/d"


H2C = b"upgrade: h2c", b"http2-settings: AAMAAABkAAQCAAAAAAIAAAAA", b"connection: Upgrade, HTTP2-Settings"


async def test_an_upgrade_is_answered_as_plain_http() -> None:
    inner = b"GET /smuggled HTTP/1.1\r\n\r\n"
    said = post(inner, *H2C) + b"GET /w HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    async with site(echo) as running, running.talk(said + GET) as talk:
        first, second, third = [(await talk.answer())[2] for _ in range(3)]
        assert b"GET /smuggled" in first
        assert b'"method": "POST"' in first
        assert b'"path": "/w"' in second
        assert b'"path": "/a"' in third
        assert running.state.total_requests == 3


async def test_more_requests_than_uvicorn_is_told_to_admit() -> None:
    app = Held()
    async with site(app, limit_concurrency=1) as running, running.talk(GET) as first:
        await asyncio.wait_for(app.begun.wait(), SECONDS)
        async with running.talk(GET) as second:
            status, _, body = await second.answer()
            assert (status, UpstreamOverloaded.code.encode() in body) == (503, True)
        app.let.set()
        assert (await first.answer())[0] == 200


async def test_a_pause_is_not_waited_for_by_the_network() -> None:
    delays: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for connection in running.state.connections:
            raw = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]
            delays.append(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await say(send, b"ok")

    async with site(app) as running, running.talk(GET) as talk:
        await talk.answer()
    assert all(delays)
    assert len(delays) == 1


async def _directly(client: Any) -> None:
    client.write_s = SECONDS
    client.answer(200, b"", client.path.encode())


@pytest.mark.parametrize("direct", [None, _directly], ids=["asgi", "direct"])
async def test_ten_hundred_clients_leave_nothing(direct: Direct | None) -> None:
    async def visit(number: int) -> None:
        async with running.talk(GET[: number % (len(GET) + 1)]) as talk:
            if number % (len(GET) + 1) == len(GET):
                assert (await talk.answer())[2] == b"/a"

    async with site(_path, direct=direct) as running:
        for start in range(0, 1000, 50):
            await asyncio.gather(*(visit(number) for number in range(start, start + 50)))
