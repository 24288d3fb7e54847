"""One request to any path of an endpoint."""

from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from evals.client import Client


async def test_a_body_goes_to_a_path_and_comes_back_with_its_time() -> None:
    seen = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.path, await request.read()))
        return web.json_response({"ok": True}, status=418, headers={"x-tollgate-digest": "sha256:a"})

    app = web.Application()
    app.router.add_post("/v1/embeddings", handle)
    ticks = iter([1.0, 3.5])
    async with (
        TestServer(app) as server,
        Client(str(server.make_url("/v1")), None, connections=1, clock=lambda: next(ticks)) as client,
    ):
        reply = await client.post("/embeddings", b"{}", 5.0)
    assert seen == [("/v1/embeddings", b"{}")]
    assert (reply.status, reply.content, reply.latency_s, reply.broken) == (418, b'{"ok": true}', 2.5, None)
    assert reply.headers["x-tollgate-digest"] == "sha256:a"


async def test_nobody_there_is_a_failure_that_may_pass() -> None:
    async with Client(f"http://127.0.0.1:{unused_port()}/v1", None, connections=1, clock=lambda: 0.0) as client:
        reply = await client.post("/embeddings", b"{}", 5.0)
    assert reply.broken is not None
    assert reply.broken.failure is not None
    assert (reply.broken.failure.kind, reply.broken.retryable) == ("unreachable", True)
