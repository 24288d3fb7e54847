"""The book of several gateways: two of them on one Redis, which goes away, forgets everything, and comes back."""

import asyncio
import builtins
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.contracts.errors import InputError
from gateway.policy.budgets import Charge, Claim, Standing
from gateway.settings.budgets import RedisConfig
from gateway.stores.budget_book import BookAway
from gateway.stores.budget_scripts import RESERVE
from gateway.stores.redis_budgets import LATE, RedisBook
from gateway.stores.redis_scripts import RedisScripts
from tests.gateway.redis_server import RedisServer, redis_server

WITHIN_S = 10.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@asynccontextmanager
async def opened(server: RedisServer, prefix: str, told: list[Any] | None = None) -> AsyncIterator[RedisBook]:
    heard = [] if told is None else told
    book = RedisBook(RedisConfig(url=server.url, prefix=prefix, timeout=2.0), lambda *each: heard.append(each))
    try:
        yield book
    finally:
        await book.close()


async def until(book: RedisBook, counter: str, wanted: Standing) -> None:
    """Wait until a counter stands so."""
    async with asyncio.timeout(WITHIN_S):
        while (found := await book.standings([counter])) != [(wanted, 1.0)]:
            assert found is not None


async def test_two_gateways_share_what_is_left(server: RedisServer) -> None:
    async with opened(server, "two") as one, opened(server, "two") as two:
        await one.load("a", 0, 1.0, math.inf)
        claims = [Claim("a", 100, 7)]
        outcomes = await asyncio.gather(
            *((one if number % 2 else two).reserve(str(number), claims, 60.0) for number in range(500))
        )
        taken = [number for number, outcome in enumerate(outcomes) if outcome.taken]
        assert len(taken) == 14
        for number in taken:  # whoever settles
            (two if number % 2 else one).settle(str(number), [Charge("a", 7, 5)])
        await until(one, "a", Standing(70, 0, 0))
        assert (await one.reserve("last", [Claim("a", 100, 30)], 60.0)).taken


async def test_a_lease_ends_by_redis_own_clock(server: RedisServer) -> None:
    async with opened(server, "lease") as book:
        await book.load("a", 0, 1.0, math.inf)
        assert (await book.reserve("gone", [Claim("a", 10, 10)], 0.05)).taken
        async with asyncio.timeout(WITHIN_S):
            while not (await book.reserve("next", [Claim("a", 10, 10)], 60.0)).taken:
                pass
        book.settle("gone", [Charge("a", 10, 3)])  # late, and true all the same
        await until(book, "a", Standing(3, 10, 0))


async def test_a_settlement_that_may_have_been_heard_counts_once(server: RedisServer) -> None:
    told: list[Any] = []
    async with opened(server, "once", told) as book:
        await book.load("a", 0, 1.0, math.inf)
        assert (await book.reserve("1", [Claim("a", 10, 8)], 60.0)).taken
        book.settle("1", [Charge("a", 8, 4)])
        await until(book, "a", Standing(4, 0, 0))
        # The same batch again, as after an answer that was lost.
        batch = (book._number, [("1", Charge("a", 8, 4))])
        book._sent = type("Again", (), {"number": batch[0], "entries": batch[1]})()
        await book._send()
        assert await book.standings(["a"]) == [(Standing(4, 0, 0), 1.0)]
        assert told == [("a", 0, 4)]


async def test_whoever_stops_waiting_holds_nothing(server: RedisServer) -> None:
    async with opened(server, "left") as book:
        await book.load("a", 0, 1.0, math.inf)
        for turns in range(6):  # at every point of the way
            asking = asyncio.create_task(book.reserve(f"left-{turns}", [Claim("a", 10, 10)], 60.0))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await until(book, "a", Standing(0, 0, 0))
            async with asyncio.timeout(WITHIN_S):
                while book._late or book._sent or book._asks:
                    await book.standings(["a"])
        assert (await book.reserve("stays", [Claim("a", 10, 10)], 60.0)).taken


async def test_redis_that_goes_away_is_said_so_and_comes_back_without_a_restart(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(server, "away") as book:
        await book.load("a", 0, 1.0, math.inf)
        assert (await book.reserve("1", [Claim("a", 10, 8)], 60.0)).taken
        server.stop()
        try:
            with pytest.raises(BookAway, match="Redis, which counts the budgets, is away"):
                await book.reserve("2", [Claim("a", 10, 1)], 60.0)
            with pytest.raises(BookAway):
                await book.reserve("3", [Claim("a", 10, 1)], 60.0)
            with pytest.raises(BookAway):
                await book.standings(["a"])
            with pytest.raises(BookAway):
                await book.load("a", 0, 1.0, math.inf)
            book.settle("1", [Charge("a", 8, 4)])
        finally:
            server.start()
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    outcome = await book.reserve("4", [Claim("a", 10, 6)], 60.0)
                    break
                except BookAway:
                    await asyncio.sleep(0)
        assert outcome.unknown == (0,), "it has forgotten everything: what is spent comes from the ledger again"
        await book.load("a", 4, 1.0, math.inf)
        assert (await book.reserve("4", [Claim("a", 10, 6)], 60.0)).taken
        assert await book.standings(["a"]) == [(Standing(4, 6, 0), 1.0)]
    assert [each.message for each in caplog.records if "is away" in each.message] != []


async def test_what_was_given_up_is_not_taken_when_it_comes_late(server: RedisServer) -> None:
    """As after a cut: the old connection's bytes arrive once the new one has said that nobody waits for them."""
    late = RedisScripts(RedisConfig(url=server.url, prefix="late", timeout=2.0), "tests")
    async with opened(server, "late") as book:
        await book.load("a", 0, 1.0, math.inf)
        book.settle("tg-late", [Charge("a", 40, 0)])
        book.settle("tg-other", [Charge("a", 0, 3)])
        await until(book, "a", Standing(3, 0, 0))
        command = (RESERVE, book._keys("a"), ["tg-late", 60_000, 40, -40, 100, -100, 1])
        assert await late.run([command]) == [[b"refused", []]]
        assert (await book.reserve("tg-now", [Claim("a", 100, 40)], 60.0)).taken
        await until(book, "a", Standing(3, 40, 0))
        book.settle("tg-now", [Charge("a", 40, 2)])
        await until(book, "a", Standing(5, 0, 0))
    await late.close()


async def test_settlements_that_wait_are_bounded(server: RedisServer) -> None:
    async with opened(server, "many") as book:
        for number in range(LATE + 5):
            book.settle(str(number), [Charge("unknown", 0, 1)])
        assert len(book._late) == LATE
        book._late.clear()


async def test_counters_of_windows_that_are_over_go(server: RedisServer) -> None:
    async with opened(server, "over") as book:
        await book.load("a", 1, 1.0, 1000.0)  # long ago
        assert await book.standings(["a"]) == [None]
        assert await book.standings([]) == []


def test_without_the_package_it_is_said_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *rest: Any) -> ModuleType:
        if name.startswith("redis"):
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'tollgate\[redis\]'"):
        RedisBook(RedisConfig(url="redis://127.0.0.1:1"), lambda *each: None)


async def test_the_password_is_read_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    config = RedisConfig.model_validate({"url": "redis://127.0.0.1:1", "password": {"file": tmp_path / "secret"}})
    book = RedisBook(config, lambda *each: None)
    assert book._client.connection_pool.connection_kwargs["password"] == "open sesame"
    await book.close()
