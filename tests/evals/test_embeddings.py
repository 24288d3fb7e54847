import logging
import math
import random
import socket
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.embeddings import Wordllama, cosine, open_embedder, read_key, unit
from evals.retrieval_config import EmbeddingsConfig
from evals.schema import Unjudged
from gateway.contracts.errors import InputError
from tests.evals.rag_tools import no_wait

VECTORS = st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3).filter(any)


@pytest.fixture(scope="module")
def wordllama() -> Wordllama:
    return Wordllama()


async def test_meaning_is_nearer_than_other_words(wordllama: Wordllama) -> None:
    price, cost, cat = await wordllama.embed(
        ["How much is the Team plan?", "The cost of the Team plan", "A cat sleeps"]
    )
    assert len(price) == wordllama.dimensions == 256
    assert cosine(price, cost) > cosine(price, cat) + 0.2


async def test_vectors_are_of_unit_length_in_the_order_of_the_texts(wordllama: Wordllama) -> None:
    texts = ["a long text " * 40, "short", "middle sized text", "short"]
    together = await wordllama.embed(texts)
    assert all(math.isclose(math.hypot(*vector), 1) for vector in together)
    for text, vector in zip(texts, together, strict=True):
        assert cosine((await wordllama.embed([text]))[0], vector) == pytest.approx(1, abs=1e-6)
    assert together[1] == together[3]


async def test_many_texts_are_embedded_in_batches(wordllama: Wordllama) -> None:
    texts = [f"text number {i}" for i in range(300)] + ["x " * 150_000]
    found = await wordllama.embed(texts)
    assert len(found) == 301
    assert cosine(found[7], (await wordllama.embed(["text number 7"]))[0]) == pytest.approx(1, abs=1e-6)


async def test_the_model_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("the model asked for a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    fresh = Wordllama()
    assert len((await fresh.embed(["hello"]))[0]) == 256
    assert fresh.digest.startswith("sha256:")


async def test_the_programs_logging_stays_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "wordllama" and "algorithms" not in name]:
        monkeypatch.delitem(sys.modules, name)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    root.setLevel(logging.WARNING)
    await Wordllama().embed(["hello"])
    assert (root.handlers, root.level) == ([], logging.WARNING)


@pytest.mark.parametrize("texts", [[""], ["fine", " \n"]])
async def test_blank_text_has_no_embedding(wordllama: Wordllama, texts: list[str]) -> None:
    with pytest.raises(Unjudged, match=f"text {len(texts)} of {len(texts)} is blank") as caught:
        await wordllama.embed(texts)
    assert caught.value.kind == "not_measured"


async def test_no_texts_are_no_vectors(wordllama: Wordllama) -> None:
    assert await wordllama.embed([]) == []


@pytest.mark.parametrize("vector", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], []])
def test_a_vector_without_a_direction_is_an_error(vector: list[float]) -> None:
    with pytest.raises(Unjudged):
        unit(vector)


@settings(deadline=None)
@given(VECTORS, VECTORS)
def test_the_cosine_is_bounded_symmetric_and_1_for_the_same(a: list[float], b: list[float]) -> None:
    assert cosine(a, a) == 1.0
    assert -1.0 <= cosine(a, b) <= 1.0
    assert cosine(a, b) == cosine(b, a)
    assert cosine(a, [-part for part in a]) == pytest.approx(-1.0)


def test_known_cosines() -> None:
    assert cosine([1, 0], [0, 1]) == 0
    assert cosine([1, 0], [3, 4]) == pytest.approx(0.6)
    with pytest.raises(Unjudged, match="2 and 3 dimensions"):
        cosine([1, 0], [1, 0, 0])


async def test_the_suites_model_is_opened() -> None:
    about = {"base_url": "http://h/v1", "api_key": None, "environ": {}, "clock": lambda: 0.0, "sleep": no_wait}
    async with open_embedder(EmbeddingsConfig(), rng=random.Random(0), **about) as found:
        assert found.name == "wordllama"


def test_a_key_that_is_not_there_is_an_error() -> None:
    assert read_key("KEY", {"KEY": "sk-1"}) == "sk-1"
    with pytest.raises(InputError, match="the variable 'KEY', found none"):
        read_key("KEY", {"KEY": ""})
