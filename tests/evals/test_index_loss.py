from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from evals import stats
from evals.index import full_name
from evals.index_loss import Loss, measure
from evals.retrieval import Store, open_store
from evals.schema import Sample
from gateway.contracts.errors import InputError
from tests.evals.qdrant_server import Qdrant, running
from tests.evals.rag_tools import Counting, made, no_wait

TEXTS = ("red cat", "red red cat", "green dog", "blue sea", "dog cat")
QUESTIONS = [
    Sample(id=word, input=word, cluster=cluster) for word, cluster in (("red", "a"), ("cat", "a"), ("sea", None))
]


@pytest.fixture
def qdrant() -> Iterator[Qdrant]:
    with running(Qdrant()) as server:
        yield server


@asynccontextmanager
async def indexed(qdrant: Qdrant, *texts: str) -> AsyncIterator[tuple[Store, str]]:
    chunks, manifest = made(*texts)
    async with open_store(qdrant.url, api_key=None, say=print, sleep=no_wait) as store:
        name = full_name("d", manifest)
        await store.build(name, manifest, chunks, Counting(), lambda done: None)
        yield store, name


async def loss(
    qdrant: Qdrant, *, k: int = 2, questions: list[Sample] = QUESTIONS, texts: tuple[str, ...] = TEXTS
) -> Loss:
    async with indexed(qdrant, *texts) as (store, name):
        return await measure(questions, k, Counting(), store, name)


async def test_an_index_that_finds_everything_loses_nothing(qdrant: Qdrant) -> None:
    found = await loss(qdrant)
    assert (found.recall, found.upper, found.questions, found.k, found.notes) == (1.0, 1.0, 3, 2, [])
    assert 0 < found.lower < 1


async def test_what_the_index_does_not_see_is_its_loss(qdrant: Qdrant) -> None:
    """Exact: red d1 d0, cat d4 d0, sea d3 and the first of those that have nothing of it."""
    qdrant.hidden = {"d0#0"}
    found = await loss(qdrant)
    # 'red' and 'cat' lose one of two; what 'sea' gets second ties with d0, at 0, and is as good.
    assert found.recall == pytest.approx((0.5 + 0.5 + 1) / 3)
    clusters = [stats.Cluster(1.0, 2), stats.Cluster(1.0, 1)]
    assert found.lower == stats.lower_bound(clusters, worst=0.0, alpha=0.025)
    assert found.upper == stats.upper_bound(clusters, best=1.0, alpha=0.025)


async def test_another_of_equal_chunks_is_no_loss(qdrant: Qdrant) -> None:
    qdrant.hidden = {"d0#0", "d1#0"}
    texts = ("red", "red", "red", "red", "blue")
    assert (await loss(qdrant, questions=[Sample(id="a", input="red")], texts=texts)).recall == 1.0
    qdrant.hidden = {"d0#0", "d1#0", "d2#0"}
    assert (await loss(qdrant, questions=[Sample(id="a", input="red")], texts=texts)).recall == 0.5


async def test_a_small_collection_is_not_held_against_the_index(qdrant: Qdrant) -> None:
    assert (await loss(qdrant, k=50)).recall == 1.0


async def test_vectors_outside_the_index_are_told(qdrant: Qdrant) -> None:
    qdrant.indexed = 2
    found = await loss(qdrant)
    assert (found.indexed, found.points) == (2, 5)
    assert found.notes[0].startswith("the server scans the 3 vectors that are not in its index")


async def test_what_cannot_be_measured_is_refused(qdrant: Qdrant) -> None:
    with pytest.raises(InputError, match="question 'b': none of the words"):
        await loss(qdrant, questions=[Sample(id="a", input="red"), Sample(id="b", input="unknown")])
    async with indexed(qdrant, *TEXTS) as (store, name):
        with pytest.raises(InputError, match="give the same model with --embedding"):
            await measure(QUESTIONS, 2, Counting(digest="sha256:2"), store, name)
        qdrant.status = "yellow"
        with pytest.raises(InputError, match="measure it once its status is green"):
            await measure(QUESTIONS, 2, Counting(), store, name)
        qdrant.collections[name]["metadata"] = None
        with pytest.raises(InputError, match="is no index that `evals index` made"):
            await measure(QUESTIONS, 2, Counting(), store, name)
