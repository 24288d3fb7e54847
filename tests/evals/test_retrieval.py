"""Indexes in local mode, in memory and in a folder: what is there, what is found, what is refused."""

import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from evals.index import full_name
from evals.retrieval import LOCAL_LIMIT, Store, open_store, point_id
from evals.schema import Passage
from gateway.contracts.errors import InputError
from tests.evals.rag_tools import Counting, made, no_wait

TEXTS = ("red cat", "red red cat", "green dog", "blue sea", "dog cat")


@asynccontextmanager
async def opened(location: str = ":memory:", say: Callable[[str], None] = print) -> AsyncIterator[Store]:
    async with open_store(location, api_key=None, say=say, sleep=no_wait) as store:
        yield store


async def build(store: Store, *texts: str, embedder: Counting | None = None) -> tuple[str, int]:
    """The collection's name, and how many chunks were embedded."""
    chunks, manifest = made(*texts)
    name = full_name("d", manifest)
    return name, await store.build(name, manifest, chunks, embedder or Counting(), lambda done: None)


async def search(store: Store, name: str, text: str, k: int, *, exact: bool = False) -> list[Passage]:
    (vector,) = await Counting().embed([text])
    return (await store.search(name, vector, k, exact=exact)).passages


async def test_the_nearest_come_first_with_their_text_and_cosine() -> None:
    async with opened() as store:
        name, _ = await build(store, *TEXTS)
        found = await search(store, name, "red cat", 3)
        assert found == [
            Passage("d0#0", "red cat", 1.0),
            Passage("d1#0", "red red cat", 0.948683),
            Passage("d4#0", "dog cat", 0.5),
        ]


async def test_local_mode_is_not_asked_to_be_exact_with_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with opened() as store:
            name, _ = await build(store, *TEXTS)
            assert await search(store, name, "red", 2, exact=True) == await search(store, name, "red", 2)


@pytest.mark.parametrize("k", [1, 3, 8, 40, 100])
async def test_equal_scores_are_in_the_order_of_ids_also_where_they_are_cut(k: int) -> None:
    texts = ["blue sea"] + ["red cat"] * 60
    async with opened() as store:
        name, _ = await build(store, *texts)
        ids = [passage.id for passage in await search(store, name, "cat", k)]
        assert ids == sorted(f"d{number}#0" for number in range(1, 61))[:k] + (["d0#0"] if k > 60 else [])


async def test_what_ties_with_the_last_is_told() -> None:
    async with opened() as store:
        name, _ = await build(store, "red", "cat", "cat", "cat", "blue")
        (vector,) = await Counting().embed(["cat"])
        found = await store.search(name, vector, 2)
        assert [passage.id for passage in found.passages] == ["d1#0", "d2#0"]
        assert found.tied == {"d1#0", "d2#0", "d3#0"}


async def test_an_index_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    embedder, seen = Counting(), []
    for embedded in (5, 0):
        async with opened(str(tmp_path / "store")) as store:
            assert (await build(store, *TEXTS, embedder=embedder))[1] == embedded
            seen.append(await search(store, (await store.names())[0], "red cat", 3))
    assert len(embedder.asked) == 5
    assert seen[0] == seen[1]


async def test_an_interrupted_index_goes_on_and_what_does_not_belong_is_removed() -> None:
    embedder = Counting()
    async with opened() as store:
        name, _ = await build(store, *TEXTS)
        await store.client.delete(name, points_selector=[point_id("d1#0"), point_id("d4#0")])
        chunks, manifest = made(*TEXTS)
        with pytest.raises(InputError, match=r"holds 3 of 5 chunks: indexing was interrupted.*; run it"):
            await store.find("d", manifest, make="run it")
        from qdrant_client import models

        alien = models.PointStruct(id=point_id("alien#0"), vector=[1.0] * 6, payload={"chunk": "alien#0", "text": "x"})
        await store.client.upsert(name, points=[alien])
        done: list[int] = []
        assert await store.build(name, manifest, chunks, embedder, done.append) == 2
        assert (embedder.asked, done) == (["red red cat", "dog cat"], [3, 2])
        assert await store.find("d", manifest, make="") == name
        assert "alien#0" not in [passage.id for passage in await search(store, name, "red", 10)]


async def test_a_chunk_whose_text_was_changed_is_put_right() -> None:
    embedder = Counting()
    async with opened() as store:
        name, _ = await build(store, *TEXTS)
        await store.client.set_payload(name, {"text": "blue dog"}, points=[point_id("d1#0")])
        assert (await build(store, *TEXTS, embedder=embedder))[1] == 1
        assert embedder.asked == ["red red cat"]
        assert (await search(store, name, "red red cat", 1))[0].text == "red red cat"


async def test_another_manifest_is_refused_with_what_differs_and_what_to_do() -> None:
    async with opened() as store:
        name, _ = await build(store, *TEXTS)
        wanted = made(*TEXTS, embedder=Counting(name="bge"))[1]
        told = f"of '{name}', its embedding model is 'counting', expected 'bge'; make it: `evals index d`"
        with pytest.raises(InputError) as caught:
            await store.find("d", wanted, make="`evals index d`")
        assert str(caught.value) == f"the store ':memory:' holds no such index 'd': {told}"
        with pytest.raises(InputError, match="the store ':memory:' holds no index 'e'; make it"):
            await store.find("e", wanted, make="")


async def test_a_collection_that_lies_about_itself_is_refused() -> None:
    chunks, manifest = made(*TEXTS)
    name = full_name("d", manifest)
    async with opened() as store:
        other = replace(manifest, embedding="bge")
        await store.build(name, other, chunks, Counting(), lambda done: None)
        with pytest.raises(InputError, match="not what its name says: its embedding model is 'bge'"):
            await store.find("d", manifest, make="")
        with pytest.raises(InputError, match="delete it, or choose another --collection"):
            await store.build(name, manifest, chunks, Counting(), lambda done: None)


async def test_a_collection_of_others_has_no_manifest() -> None:
    from qdrant_client import models

    async with opened() as store:
        shape = models.VectorParams(size=2, distance=models.Distance.COSINE)
        for name, about in (("theirs", None), ("odd", {"tollgate": {"version": 7}})):
            await store.client.create_collection(name, vectors_config=shape, metadata=about)
            assert (await store.look(name)).manifest is None
        await store.client.upsert("theirs", points=[models.PointStruct(id=1, vector=[1, 0], payload={"x": 1})])
        with pytest.raises(InputError, match="a point that is no chunk of a corpus"):
            await store.search("theirs", [1.0, 0.0], 1)


async def test_a_chunk_that_cannot_be_embedded_is_named() -> None:
    async with opened() as store:
        with pytest.raises(InputError, match="chunks 'd0#0' to 'd1#0': none of the words"):
            await build(store, "red", "nothing known")


async def test_a_collection_that_is_not_there_is_an_error() -> None:
    async with opened() as store:
        with pytest.raises(InputError, match="Qdrant at ':memory:': Collection nope not found"):
            await store.look("nope")


async def test_dropping_removes() -> None:
    async with opened() as store:
        name, _ = await build(store, "red")
        await store.drop(name)
        assert await store.names() == []


async def test_a_large_index_in_local_mode_is_told_in_our_words() -> None:
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with opened(say=notes.append) as store:
            await build(store, *TEXTS)
            assert notes == []
            chunks, manifest = made(*["red"] * (LOCAL_LIMIT + 1))
            await store.build(full_name("e", manifest), manifest, chunks, Counting(), lambda done: None)
            await store.find("e", manifest, make="")
    assert len(notes) == 2
    assert notes[0].startswith("20001 chunks in local mode")
