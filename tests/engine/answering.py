"""How a request becomes an answer: read, run, and written as it is made or when it is whole."""

import asyncio
import hashlib
from typing import TYPE_CHECKING

from tests.engine.connection import Received, Reply
from tests.engine.core import Run
from tests.engine.endpoints import Counts, Endpoint, Generates, Pools
from tests.engine.job import Job, Refusal
from tests.engine.pooling import BINARY, binary
from tests.engine.wire import Stamp, Writer

if TYPE_CHECKING:
    from tests.engine.server import Engine

KEEP_ALIVE = b": keep-alive\n\n"
FAILED = "Internal server error"


async def answer(engine: "Engine", endpoint: Endpoint, received: Received, reply: Reply) -> None:
    """Read the request, let the engine run it, and write what comes of it. Raises Refusal."""
    body = endpoint.decode(received.body, received.header("content-type") or "")
    if isinstance(endpoint, Counts):
        await reply.plain(200, endpoint.answer(body, engine.limits))
        return
    assert isinstance(endpoint, Generates | Pools)
    asked = endpoint.read(body, engine.limits)
    stamp = _stamp(engine, received, reply, asked, endpoint.id)
    if isinstance(endpoint, Pools):
        await _pool(engine, asked, stamp, endpoint, reply)
        return
    writer = endpoint.write(stamp, asked)
    if asked.stream:
        await _stream(engine, asked, writer, reply, engine.keep_alive_s if endpoint.keeps_alive else None)
    else:
        await _whole(engine, asked, writer, reply)


def _stamp(engine: "Engine", received: Received, reply: Reply, asked: Job, prefix: str) -> Stamp:
    made = hashlib.sha256(f"{engine.port}/{len(engine.requests)}".encode()).hexdigest()[:16]
    return Stamp(
        id=f"{prefix}{received.header('x-request-id') or made}",
        created=int(engine.clock()),
        model=asked.model,
        fingerprint=engine.fingerprint,
        usage=reply.kind != "no_usage",
        details=engine.prompt_tokens_details,
    )


def _failure(reply: Reply) -> Refusal:
    return Refusal(500, reply.fault.message or FAILED, "InternalServerError")


async def _whole(engine: "Engine", asked: Job, writer: Writer, reply: Reply) -> None:
    async with engine.run(asked, engine.answer) as run:
        while not run.done:
            await run.step()
            if reply.broken:
                raise _failure(reply)
    await reply.plain(200, writer.whole(run))


async def _stream(engine: "Engine", asked: Job, writer: Writer, reply: Reply, keep_alive_s: float | None) -> None:
    async with engine.run(asked, engine.answer) as run:
        await reply.open()
        await reply.events(writer.opened())
        first = True
        while not run.done and not reply.broken:
            tokens = await _step(run, reply, keep_alive_s)
            if first:
                await reply.events(writer.started())
            first = False
            for index, text, finish in tokens:
                if not reply.broken:
                    await reply.events(writer.token(index, text, run.made[index], finish))
        last = writer.failed(_failure(reply)) if reply.broken else writer.ended(run)
        if last is None:
            await reply.cut()
        else:
            await reply.events(last[:-1])
            await reply.end(last[-1])


async def _step(run: Run, reply: Reply, keep_alive_s: float | None) -> list[tuple[int, str, str | None]]:
    """The next tokens, with a comment whenever they take as long as that."""
    if keep_alive_s is None:
        return await run.step()
    step = asyncio.create_task(run.step())
    try:
        while not (await asyncio.wait({step}, timeout=keep_alive_s))[0]:
            await reply.comment(KEEP_ALIVE)
        return step.result()
    finally:
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)


async def _pool(engine: "Engine", asked: Job, stamp: Stamp, endpoint: Pools, reply: Reply) -> None:
    async with engine.run(asked, engine.answer) as run:
        await run.step()
    if asked.body.get("encoding_format") in BINARY:
        vectors, metadata = binary(stamp, asked, engine.model_head)
        await reply.open("application/octet-stream", metadata=metadata)
        await reply.end(vectors)
    else:
        await reply.plain(200, endpoint.write(stamp, asked, engine.model_head))
