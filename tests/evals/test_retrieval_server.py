"""The server's side of a store, over HTTP, with the real client. See qdrant_server.py for what answers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from evals.index import full_name
from evals.retrieval import Store, open_store
from gateway.contracts.errors import InputError
from tests.evals.qdrant_server import Qdrant, running
from tests.evals.rag_tools import Counting, made

TEXTS = ("red cat", "red red cat", "green dog", "blue sea", "dog cat")


@pytest.fixture
def qdrant() -> Iterator[Qdrant]:
    with running(Qdrant()) as server:
        yield server


@asynccontextmanager
async def opened(qdrant: Qdrant, waits: list[float] | None = None) -> AsyncIterator[Store]:
    async def sleep(seconds: float) -> None:
        (waits if waits is not None else []).append(seconds)

    async with open_store(qdrant.url, api_key="secret", say=print, sleep=sleep) as store:
        yield store


async def build(store: Store, *texts: str) -> str:
    chunks, manifest = made(*texts)
    name = full_name("d", manifest)
    await store.build(name, manifest, chunks, Counting(), lambda done: None)
    return name


async def test_an_index_is_made_found_and_searched(qdrant: Qdrant) -> None:
    async with opened(qdrant) as store:
        name = await build(store, *TEXTS)
        assert await store.find("d", made(*TEXTS)[1], make="") == name
        (vector,) = await Counting().embed(["red cat"])
        assert [passage.id for passage in (await store.search(name, vector, 2)).passages] == ["d0#0", "d1#0"]
        stored = await store.look(name)
        assert (stored.points, stored.indexed, stored.ready) == (5, 5, True)
        assert stored.manifest == made(*TEXTS)[1]
        await store.drop(name)
        assert await store.names() == []
    assert set(qdrant.keys) == {"secret"}


async def test_exact_is_asked_of_the_server_and_nothing_else_is(qdrant: Qdrant) -> None:
    async with opened(qdrant) as store:
        name = await build(store, *TEXTS)
        qdrant.hidden = {"d0#0"}
        (vector,) = await Counting().embed(["red cat"])
        quick = await store.search(name, vector, 1)
        exact = await store.search(name, vector, 1, exact=True)
        assert ([p.id for p in quick.passages], [p.id for p in exact.passages]) == (["d1#0"], ["d0#0"])


async def test_equal_scores_are_ordered_whatever_the_server_prefers(qdrant: Qdrant) -> None:
    async with opened(qdrant) as store:
        name = await build(store, *["red cat"] * 40)
        (vector,) = await Counting().embed(["cat"])
        ids = [passage.id for passage in (await store.search(name, vector, 3)).passages]
        assert ids == ["d0#0", "d1#0", "d10#0"]


async def test_a_large_collection_is_read_page_by_page(qdrant: Qdrant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.retrieval._PAGE", 2)
    async with opened(qdrant) as store:
        await build(store, *TEXTS)
        await build(store, *TEXTS)
    scrolled = [body.get("offset") for _, path, body in qdrant.asked if path.endswith("/scroll")]
    assert len(scrolled) == 3
    assert len([path for _, path, _ in qdrant.asked if path.endswith("/points")]) == 1


async def test_a_busy_server_is_asked_again(qdrant: Qdrant) -> None:
    waits: list[float] = []
    async with opened(qdrant, waits) as store:
        qdrant.fails = [(503, {}), (429, {"Retry-After": "5"})]
        assert await store.names() == []
    assert waits == [0.5, 5.0]


@pytest.mark.parametrize(("status", "asked"), [(403, 1), (400, 1), (503, 4)])
async def test_a_server_that_refuses_is_told(qdrant: Qdrant, status: int, asked: int) -> None:
    async with opened(qdrant) as store:
        qdrant.fails = [(status, {})] * 4
        with pytest.raises(InputError, match=f"Qdrant at '{qdrant.url}': status {status}"):
            await store.names()
    assert len(qdrant.asked) == asked


async def test_nobody_there_is_told(qdrant: Qdrant) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with open_store("http://127.0.0.1:1", api_key=None, say=print, sleep=sleep) as store:
        with pytest.raises(InputError, match="is a server running there"):
            await store.names()
    assert waits == [0.5, 1.0, 2.0]
