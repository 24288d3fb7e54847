"""An answer that a task writes: read as a connection is, held back by a slow reader, ended by abort."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.written import HELD, Written

S = 10.0


def _written(work: Callable[[Written], Awaitable[None]]) -> tuple[Written, "asyncio.Task[None]"]:
    async def run() -> None:
        await work(answer)

    answer = Written()
    task = asyncio.create_task(run())
    answer.follow(task)
    return answer, task


async def test_head_pieces_and_end_in_order() -> None:
    async def work(answer: Written) -> None:
        answer.begin(200, {b"content-type": b"text/plain"})
        await answer.push(b"a")
        await asyncio.sleep(0)
        await answer.push(b"b")

    answer, _ = _written(work)
    assert answer.status == 0
    assert await answer.head(S) == 200
    assert answer.headers == {b"content-type": b"text/plain"}
    read = b""
    while piece := await answer.read(S):
        read += piece
    assert read == b"ab"
    assert await answer.read(S) == b""


async def test_what_was_written_is_read_before_the_failure_after_it() -> None:
    async def work(answer: Written) -> None:
        answer.begin(200, {})
        await answer.push(b"a")
        raise ExchangeError("broken")

    answer, _ = _written(work)
    assert await answer.read(S) == b"a"
    for _ in range(2):
        with pytest.raises(ExchangeError, match="broken"):
            await answer.read(S)


async def test_a_writer_waits_for_a_slow_reader() -> None:
    written = 0

    async def work(answer: Written) -> None:
        nonlocal written
        answer.begin(200, {})
        for _ in range(3 * HELD):
            await answer.push(b"x")
            written += 1

    answer, task = _written(work)
    await answer.head(S)
    for _ in range(10 * HELD):
        await asyncio.sleep(0)
    assert written == HELD
    size = 0
    while piece := await answer.read(S):
        assert len(piece) <= HELD
        size += len(piece)
    assert size == 3 * HELD
    assert task.done()


async def test_abort_cancels_the_task_and_ends_every_wait() -> None:
    async def work(answer: Written) -> None:
        await asyncio.Event().wait()

    answer, task = _written(work)
    waiting = asyncio.create_task(answer.head(S))
    await asyncio.sleep(0)
    answer.abort("the client left")
    with pytest.raises(ExchangeError, match="the client left"):
        await waiting
    with pytest.raises(ExchangeError, match="the client left"):
        await answer.read(S)
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_wait_has_a_limit() -> None:
    async def work(answer: Written) -> None:
        await asyncio.Event().wait()

    answer, task = _written(work)
    with pytest.raises(ExchangeError, match="did not send its first byte") as caught:
        await answer.head(0.01)
    assert caught.value.timeout
    await asyncio.wait([task])
    assert task.cancelled()


async def test_abort_after_the_end_changes_nothing() -> None:
    async def work(answer: Written) -> None:
        answer.begin(200, {})

    answer, task = _written(work)
    await task
    answer.abort("late")
    assert await answer.read(S) == b""


async def test_a_second_abort_leaves_the_closing_that_the_first_one_began_alone() -> None:
    closed = []

    async def work(answer: Written) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # a connection takes turns to close
            closed.append(True)

    answer, task = _written(work)
    await asyncio.sleep(0)
    answer.abort("the client left")
    await asyncio.sleep(0)
    answer.abort("the exchange is over")
    await asyncio.wait([task])
    assert (closed, task.cancelled()) == ([True], True)
