"""Law 2 on every book of budgets: in memory, in a file, in Redis. What is reserved settles once, nothing overspends."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.policy.budgets import Charge, Claim, Outcome, Short, Standing
from gateway.settings.budgets import RedisConfig
from gateway.stores.budget_book import Book
from gateway.stores.file_budgets import FileBook
from gateway.stores.memory_budgets import MemoryBook
from gateway.stores.redis_budgets import RedisBook
from tests.gateway.redis_server import RedisServer, redis_server

NAMES = itertools.count()
DAY = 86_400.0


@dataclass
class Shelf:
    """Opens books that count together, and moves their clock. `told` is what any of them told of spending."""

    kind: str
    folder: Path
    server: RedisServer | None
    now: float = 1000.0
    told: list[tuple[str, int, int]] = field(default_factory=list)

    def open(self) -> Book:
        def heard(counter: str, before: int, after: int) -> None:
            self.told.append((counter, before, after))

        if self.kind == "memory":
            return MemoryBook(lambda: self.now, lambda: self.now, heard)
        if self.kind == "file":
            return FileBook(self.folder / f"book-{next(NAMES)}.sqlite", lambda: self.now, lambda: self.now, heard)
        assert self.server is not None
        return RedisBook(RedisConfig(url=self.server.url, prefix=f"test-{next(NAMES)}", timeout=5.0), heard)

    @asynccontextmanager
    async def book(self, **spent: int) -> AsyncIterator[Book]:
        """A book with counters."""
        book = self.open()
        try:
            for counter, amount in spent.items():
                await book.load(counter, amount, 1.0, math.inf)
            yield book
        finally:
            await book.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RedisServer]]:
    """The one Redis of this file, started by the first that needs it."""
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield lambda: running


@pytest.fixture(params=["memory", "file", "redis"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    """Each kind of book."""
    running = request.getfixturevalue("server")() if request.param == "redis" else None
    return Shelf(request.param, tmp_path, running)


async def reserve(book: Book, lease: str, *claims: Claim) -> Outcome:
    return await book.reserve(lease, claims, DAY)


async def standing(book: Book, counter: str) -> Standing:
    """How a counter stands, once everything that was said is written."""
    for _ in range(1000):
        (found,) = await book.standings([counter])
        late = getattr(book, "_late", None) or getattr(book, "_sent", None)
        if not late:
            (found,) = await book.standings([counter])
            break
    assert found is not None
    return found[0]


async def test_what_nobody_has_loaded_is_not_known(shelf: Shelf) -> None:
    async with shelf.book(a=0) as book:
        outcome = await reserve(book, "1", Claim("a", 10, 1), Claim("b", 10, 1))
        assert (outcome.taken, outcome.unknown) == (False, (1,))
        assert (await standing(book, "a")).reserved == 0
        assert await book.standings(["b"]) == [None]


async def test_a_counter_is_loaded_once(shelf: Shelf) -> None:
    async with shelf.book(a=5) as book:
        await book.load("a", 7, 2.0, math.inf)
        assert await book.standings(["a"]) == [(Standing(5, 0, 0), 1.0)]


async def test_all_of_the_counters_or_none(shelf: Shelf) -> None:
    async with shelf.book(a=0, b=8) as book:
        assert (await reserve(book, "1", Claim("a", 10, 3), Claim("b", 10, 3))) == Outcome(False, (Short(1, 8, 0),))
        assert (await standing(book, "a")) == Standing(0, 0)
        assert (await reserve(book, "1", Claim("a", 10, 2), Claim("b", 10, 2))).taken
        assert (await standing(book, "a"), await standing(book, "b")) == (Standing(0, 2), Standing(8, 2))


async def test_what_it_did_cost_takes_the_place_of_what_was_held(shelf: Shelf) -> None:
    async with shelf.book(a=0) as book:
        assert (await reserve(book, "1", Claim("a", 10, 8))).taken
        assert (await reserve(book, "2", Claim("a", 10, 8))).short == (Short(0, 0, 8),)
        book.settle("1", [Charge("a", 8, 1)])
        assert (await reserve(book, "2", Claim("a", 10, 8))).taken
        book.settle("2", [Charge("a", 8, 0)])
        assert await standing(book, "a") == Standing(1, 0)
        assert shelf.told == [("a", 0, 1)]


async def test_a_budget_that_warns_refuses_nobody(shelf: Shelf) -> None:
    async with shelf.book(a=10, b=0) as book:
        soft = Claim("a", 10, 3, hard=False)
        assert await reserve(book, "1", soft, Claim("b", 10, 3)) == Outcome(True, (Short(0, 10, 0),))
        assert await reserve(book, "2", soft, Claim("b", 10, 9)) == Outcome(False, (Short(0, 10, 3), Short(1, 0, 3)))
        assert await standing(book, "a") == Standing(10, 3)


async def test_amounts_of_seventeen_digits_are_exact(shelf: Shelf) -> None:
    limit = 10**17
    async with shelf.book(a=limit - 3) as book:
        assert not (await reserve(book, "1", Claim("a", limit, 4))).taken
        assert (await reserve(book, "1", Claim("a", limit, 3))).taken
        assert not (await reserve(book, "2", Claim("a", limit, 1))).taken
        book.settle("1", [Charge("a", 3, 2)])
        assert (await reserve(book, "2", Claim("a", limit, 1))).taken
        assert (await standing(book, "a")) == Standing(limit - 1, 1)


async def test_the_ledgers_truth_corrects_up_and_down(shelf: Shelf) -> None:
    async with shelf.book(a=10) as book:
        for corrected, total in ((5, 15), (-4, 6), (-6, 4), (0, 10)):
            await book.correct("a", corrected)
            assert (await standing(book, "a")).total == total
            assert not (await reserve(book, "x", Claim("a", total, 1))).taken
        await book.correct("gone", 5)
        assert [each[2] for each in shelf.told] == [15, 6, 4, 10]


async def test_five_hundred_at_once_never_overspend(shelf: Shelf) -> None:
    async with shelf.book(a=0) as book:
        limit, amount = 1000, 7
        outcomes = await asyncio.gather(*(reserve(book, str(n), Claim("a", limit, amount)) for n in range(500)))
        taken = [str(n) for n, outcome in enumerate(outcomes) if outcome.taken]
        assert len(taken) == limit // amount
        for lease in taken:
            book.settle(lease, [Charge("a", amount, amount)])
        assert await standing(book, "a") == Standing(len(taken) * amount, 0)
        assert (await reserve(book, "last", Claim("a", limit, limit - len(taken) * amount))).taken


STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 40), st.integers(0, 40), st.booleans(), st.booleans()), max_size=30
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_law_2_every_reservation_settles_once_and_nothing_overspends(
    shelf: Shelf, steps: list[tuple[int, int, int, bool, bool]]
) -> None:
    """Against the plainest model: two counters, reservations that settle in any order to no more than they held."""

    async def play() -> None:
        limits, spent, held = {"a": 100, "b": 60}, {"a": 0, "b": 0}, dict[str, dict[str, int]]()
        async with shelf.book(**spent) as book:
            for number, (which, first, second, both, begin) in enumerate(steps):
                if begin or not held:
                    wanted = {"a": first, "b": second} if both else {"a": first}
                    fits = all(
                        spent[name] + sum(each.get(name, 0) for each in held.values()) + amount <= limits[name]
                        for name, amount in wanted.items()
                    )
                    claims = [Claim(name, limits[name], amount) for name, amount in wanted.items()]
                    assert (await reserve(book, str(number), *claims)).taken == fits
                    if fits:
                        held[str(number)] = wanted
                else:
                    lease = sorted(held)[which % len(held)]
                    wanted = held.pop(lease)
                    charges = [Charge(name, amount, min(amount, first)) for name, amount in wanted.items()]
                    book.settle(lease, charges)
                    for charge in charges:
                        spent[charge.counter] += charge.cost
                for name in limits:
                    reserved = sum(each.get(name, 0) for each in held.values())
                    assert await standing(book, name) == Standing(spent[name], reserved)
                    assert spent[name] + reserved <= limits[name]

    asyncio.run(play())
