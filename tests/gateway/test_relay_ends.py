"""How a stream ends: a client that leaves with the last event has had the whole answer. And what is counted then."""

import asyncio
from pathlib import Path

import pytest

from tests.engine import raw
from tests.gateway.calls import CHAT, MESSAGE, RESPONSE, Call
from tests.gateway.servers import server
from tests.gateway.serving import deployment, serving

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = {
    CHAT.name: b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}\n\ndata: [DONE]\n\n',
    MESSAGE.name: b'data: {"type":"message_delta","usage":{"input_tokens":4,"output_tokens":2}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    RESPONSE.name: b'data: {"type":"response.completed","response":{"usage":{"input_tokens":4,"output_tokens":2}}}\n\n',
}


@pytest.mark.parametrize("call", [CHAT, MESSAGE, RESPONSE], ids=lambda call: call.name)
async def test_who_leaves_with_the_last_event_has_it_all(tmp_path: Path, call: Call) -> None:
    left = asyncio.Event()
    kept: list[asyncio.StreamWriter] = []

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All events; the end of the body only when the client has gone."""
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
            kept.append(writer)
            writer.write(HEAD + b"%x\r\n%b\r\n" % (len(EVENTS[call.name]), EVENTS[call.name]))
            await left.wait()
            writer.write(b"0\r\n\r\n")

    async with server(engine) as url, serving(deployment({"main": [url]}), tmp_path) as (gateway, key, _):
        body, kind = call.sent("faq", stream=True)
        async with raw.connect(gateway.url) as client:
            await client.send("POST", call.path, body, {"content-type": kind, "x-api-key": key})
            await client.head()
            await client.chunk()
        assert (await raw.exchange(gateway.url, "GET", "/health")).status == 200, "the gateway has seen it leave"
        left.set()
        (row,) = await gateway.rows(1)
        assert (row.outcome, row.status, row.input_tokens, row.output_tokens) == ("completed", 200, 4, 2)
        await raw.post(gateway.url, call.path, body, {"content-type": kind, "x-api-key": key})
        assert kept[0] is kept[1], "the engine's connection is used again"


@pytest.mark.parametrize("count", [2**31, 2**63 - 1, 10**40])
async def test_a_count_that_no_ledger_holds_keeps_no_other_row_out_of_it(tmp_path: Path, count: int) -> None:
    told = [b'{"usage":{"prompt_tokens":%d,"completion_tokens":%d}}' % (each, each) for each in (count, 2)]

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in told:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
            kind = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            writer.write(kind + b"content-length: %d\r\n\r\n%b" % (len(body), body))

    async with server(engine) as url, serving(deployment({"main": [url]}), tmp_path) as (gateway, key, _):
        body, kind = CHAT.sent("faq")
        for each in told:
            answer = await raw.post(gateway.url, CHAT.path, body, {"content-type": kind, "x-api-key": key})
            assert (answer.status, answer.body) == (200, each)
        counts = {(row.outcome, row.input_tokens, row.output_tokens) for row in await gateway.rows(2)}
        assert counts == {("completed", None, None), ("completed", 2, 2)}


@pytest.mark.parametrize("call", [CHAT, MESSAGE, RESPONSE], ids=lambda call: call.name)
async def test_what_an_engine_says_after_its_last_event_makes_no_failure_of_it(tmp_path: Path, call: Call) -> None:
    said = EVENTS[call.name] + b"data: [DONE]\n\n"  # as vLLM 0.11 ends messages

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
        writer.write(HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(said), said))
        await reader.read()

    async with server(engine) as url, serving(deployment({"main": [url]}), tmp_path) as (gateway, key, _):
        body, kind = call.sent("faq", stream=True)
        answer = await raw.post(gateway.url, call.path, body, {"content-type": kind, "x-api-key": key})
        assert (answer.status, answer.whole) == (200, True)
        assert answer.body.endswith(said) or call is CHAT  # whose client did not ask for usage
        (row,) = await gateway.rows(1)
        assert (row.outcome, row.attempts, row.input_tokens, row.output_tokens) == ("completed", 1, 4, 2)
