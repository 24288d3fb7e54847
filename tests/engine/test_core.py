"""Who runs, who waits, and what a client's leaving stops."""

import asyncio
from typing import Any

import pytest

from tests.engine import raw
from tests.engine.core import PrefixCache
from tests.engine.simulator import Engine

LONG = " ".join(f"w{n}" for n in range(50))


def _body(**more: Any) -> dict[str, Any]:
    return {"model": "faq", "prompt": LONG, **more}


def _balanced(engine: Engine) -> bool:
    return engine.started == engine.finished + engine.aborted + engine.running + engine.waiting


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_generation(stream: bool) -> None:
    async with Engine("faq") as engine:
        engine.hold()
        async with raw.connect(engine.url) as client:
            await client.send("POST", "/v1/completions", _body(stream=stream))
            await engine.wait_for(lambda e: e.running == 1)
            engine.step(3)
            await engine.wait_for(lambda e: e.generated_tokens == 3)
        await engine.wait_for(lambda e: e.running == 0)
        engine.resume()
        await raw.post(engine.url, "/v1/completions", {"prompt": "a"})
        assert (engine.started, engine.finished, engine.aborted) == (2, 1, 1)
        assert engine.generated_tokens == 4
        assert engine.success["abort"] == 1


async def test_a_client_that_only_ends_its_sending_side_has_left() -> None:
    async with Engine("faq") as engine, raw.connect(engine.url) as client:
        engine.hold()
        await client.send("POST", "/v1/completions", _body())
        await engine.wait_for(lambda e: e.running == 1)
        client.writer.write_eof()
        await engine.wait_for(lambda e: e.aborted == 1)
        assert await client.reader.read() == b""


async def test_a_stream_arrives_token_by_token() -> None:
    async with Engine("faq") as engine, raw.connect(engine.url) as client:
        engine.hold()
        await client.send(
            "POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "a b"}], "stream": True}
        )
        assert (await client.head()).status == 200
        engine.step()
        assert b'"role":"assistant"' in await client.chunk()
        assert b'"content":"a"' in await client.chunk()
        engine.step()
        assert b'"content":" b"},"logprobs":null,"finish_reason":"stop"' in await client.chunk()


async def test_seats_are_limited_and_the_rest_waits() -> None:
    async with Engine("faq", max_num_seqs=2) as engine:
        engine.hold()
        posts = [asyncio.create_task(raw.post(engine.url, "/v1/completions", _body(max_tokens=2))) for _ in range(5)]
        await engine.wait_for(lambda e: (e.running, e.waiting) == (2, 3))
        assert _balanced(engine)
        engine.resume()
        assert {answer.status for answer in await asyncio.gather(*posts)} == {200}
        assert (engine.finished, engine.running, engine.waiting, engine.peak_running) == (5, 0, 0, 2)


async def test_a_waiting_client_that_leaves_frees_its_place() -> None:
    async with Engine("faq", max_num_seqs=1) as engine, raw.connect(engine.url) as first:
        engine.hold()
        await first.send("POST", "/v1/completions", _body())
        await engine.wait_for(lambda e: e.running == 1)
        async with raw.connect(engine.url) as second:
            await second.send("POST", "/v1/completions", _body())
            await engine.wait_for(lambda e: e.waiting == 1)
        await engine.wait_for(lambda e: e.waiting == 0)
        assert (engine.running, engine.aborted) == (1, 1)
        assert _balanced(engine)


async def test_a_full_queue_refuses_as_vllm_does() -> None:
    async with Engine("faq", max_num_queued_reqs=1) as engine, raw.connect(engine.url) as client:
        engine.hold()
        await client.send("POST", "/v1/completions", _body())
        await engine.wait_for(lambda e: e.running == 1)
        refused = await raw.post(engine.url, "/v1/completions", _body())
        assert refused.status == 503
        assert refused.header("retry-after") is None
        assert refused.json["error"]["type"] == "Service Unavailable"
        assert refused.json["error"]["code"] == 503
        assert engine.rejected == 1


async def test_a_reader_that_stops_reading_stops_the_engine() -> None:
    async with Engine("faq", max_model_len=10_000_000) as engine, raw.connect(engine.url) as client:
        body = {"prompt": "a", "stream": True, "max_tokens": 1_000_000, "ignore_eos": True}
        await client.send("POST", "/v1/completions", body)
        (connection,) = engine.connections
        await engine.wait_for(lambda _: not connection.writable)
        assert engine.generated_tokens < 1_000_000


async def test_waiting_for_what_never_happens_says_what_is() -> None:
    async with Engine("faq") as engine:
        with pytest.raises(AssertionError, match="'started': 0"):
            await engine.wait_for(lambda e: e.started == 1, timeout_s=0.01)


async def test_a_stopped_engine_comes_back_on_its_port() -> None:
    async with Engine("faq") as engine:
        url = engine.url
        async with raw.connect(url) as client:
            engine.hold()
            await client.send("POST", "/v1/completions", _body())
            await engine.wait_for(lambda e: e.running == 1)
            await engine.stop()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await client.head()
        assert (engine.running, engine.aborted) == (0, 1)
        with pytest.raises(ConnectionError):
            await raw.exchange(url, "GET", "/health")
        await engine.start()
        assert engine.url == url
        assert (await raw.exchange(url, "GET", "/health")).status == 200


def test_the_prefix_cache_finds_whole_leading_blocks_only() -> None:
    cache = PrefixCache(blocks=8, block_tokens=2)
    assert cache.enter("a b c d e") == (0, 4)
    assert cache.enter("a b c d e") == (4, 4)
    assert cache.enter("a b x y") == (2, 4)
    assert cache.enter("z b c d") == (0, 4)
    assert 0 < cache.usage <= 1


def test_the_prefix_cache_forgets_the_least_recently_used_block() -> None:
    cache = PrefixCache(blocks=1, block_tokens=1)
    cache.enter("a")
    cache.enter("b")
    assert cache.enter("a") == (0, 1)
    assert cache.enter("a") == (1, 1)


async def test_a_sleeping_engine_ends_what_runs_and_keeps_what_comes_waiting() -> None:
    async with Engine("faq") as engine:
        engine.hold()
        running = asyncio.create_task(raw.post(engine.url, "/v1/completions", _body()))
        await engine.wait_for(lambda e: e.running == 1)
        engine.step(2)
        await engine.wait_for(lambda e: e.generated_tokens == 2)
        engine.sleep()
        assert (await running).json["choices"][0]["finish_reason"] == "abort"
        waiting = asyncio.create_task(raw.post(engine.url, "/v1/completions", _body(max_tokens=1)))
        await engine.wait_for(lambda e: e.waiting == 1)
        assert engine.running == 0
        engine.resume()
        engine.wake()
        assert (await waiting).json["choices"][0]["finish_reason"] == "length"
        assert _balanced(engine)


async def test_a_stream_that_waits_for_a_seat_has_begun() -> None:
    async with Engine("faq", max_num_seqs=1) as engine, raw.connect(engine.url) as first:
        engine.hold()
        await first.send("POST", "/v1/completions", _body())
        await engine.wait_for(lambda e: e.running == 1)
        async with raw.connect(engine.url) as second:
            await second.send("POST", "/v1/completions", _body(stream=True))
            assert (await second.head()).status == 200
            assert (engine.running, engine.waiting) == (1, 1)
