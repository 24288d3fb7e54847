import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.cli import main
from evals.config import SuiteConfig
from evals.embeddings import Embedder, Wordllama
from evals.rag import OwnContexts, Retriever, command, identity, opened, prompt, with_passages
from evals.retrieval import point_id
from evals.retrieval_config import TEMPLATE, EmbeddingsConfig, RetrievalConfig
from evals.schema import Passage, Sample, Unjudged
from gateway.contracts.errors import InputError
from tests.evals.rag_tools import Counting, no_wait

TEXTS = ("red cat", "green dog", "blue sea")
SHORT = "{passages}\n---\n{question}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [json.dumps({"id": f"d{number}", "text": text}) for number, text in enumerate(TEXTS)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    return tmp_path


def suite(**retrieval: Any) -> SuiteConfig:
    return SuiteConfig.model_validate(
        {
            "suite": "s",
            "dataset": "d.jsonl",
            "scorers": [{"name": "exact"}],
            "embeddings": {},
            "retrieval": {"corpus": "docs.jsonl", "k": 2, "template": SHORT, **retrieval},
        }
    )


@asynccontextmanager
async def retriever(folder: Path, embedder: Embedder | None = None, **retrieval: Any) -> AsyncIterator[Retriever]:
    about = {"environ": {}, "say": print, "sleep": no_wait}
    async with opened(suite(**retrieval), folder, embedder or Counting(), **about) as found:
        assert isinstance(found, Retriever)
        yield found


async def test_a_question_gets_its_passages(folder: Path) -> None:
    async with retriever(folder) as found:
        asked = await found.prepare(Sample(id="a", input="a red cat or a dog"))
    assert [passage.id for passage in asked.passages or []] == ["d0#0", "d1#0"]
    assert asked.sample.input == "[1] d0#0\nred cat\n\n[2] d1#0\ngreen dog\n---\na red cat or a dog"


async def test_the_last_user_message_is_searched_for_and_filled_in(folder: Path) -> None:
    talk = [
        {"role": "user", "content": "dog"},
        {"role": "assistant", "content": "what?"},
        {"role": "user", "content": "sea", "name": "x"},
    ]
    async with retriever(folder, k=1) as found:
        asked = await found.prepare(Sample(id="a", input=talk))
    expected = {"role": "user", "content": "[1] d2#0\nblue sea\n---\nsea", "name": "x"}
    assert asked.sample.input == [*talk[:2], expected]
    assert talk[2]["content"] == "sea"


async def test_of_a_conversation_the_last_question_is_the_one(folder: Path) -> None:
    async with retriever(folder, k=1) as found:
        asked = await found.prepare(Sample(id="a", input="dog", follow_ups=["cat", "sea"]))
    assert (asked.sample.input, asked.sample.follow_ups) == ("dog", ["cat", "[1] d2#0\nblue sea\n---\nsea"])


@pytest.mark.parametrize(
    "sample",
    [
        Sample(id="a", input="none of them"),
        Sample(id="a", input=[{"role": "user", "content": [{"type": "image_url"}]}]),
        Sample(id="a", input=[{"role": "system", "content": "red"}]),
    ],
)
async def test_passages_that_cannot_be_had_are_missing_evidence(folder: Path, sample: Sample) -> None:
    async with retriever(folder) as found:
        with pytest.raises(Unjudged) as caught:
            await found.prepare(sample)
    assert caught.value.kind == "retrieval_failed"


async def test_a_store_that_fails_is_missing_evidence(folder: Path) -> None:
    async with retriever(folder) as found:
        await found.store.drop(found.collection)
        with pytest.raises(Unjudged, match="not found") as caught:
            await found.prepare(Sample(id="a", input="red"))
    assert caught.value.kind == "retrieval_failed"


async def test_a_chunk_whose_text_was_changed_under_its_manifest_is_missing_evidence(folder: Path) -> None:
    async with retriever(folder, k=1) as found:
        await found.store.client.set_payload(found.collection, {"text": "a lie"}, points=[point_id("d0#0")])
        with pytest.raises(Unjudged, match=r"chunk 'd0#0' in .* has another text than the documents") as caught:
            await found.prepare(Sample(id="a", input="red"))
        assert (await found.passages("sea"))[0].text == "blue sea"
    assert caught.value.kind == "retrieval_failed"


async def test_contexts_of_the_sample_are_its_passages_where_nothing_is_retrieved() -> None:
    asked = await OwnContexts(SHORT).prepare(Sample(id="a", input="q", contexts=["one", "two"]))
    assert asked.passages == [Passage("context#0", "one"), Passage("context#1", "two")]
    assert asked.sample.input == "[1] context#0\none\n\n[2] context#1\ntwo\n---\nq"
    bare = Sample(id="a", input="q")
    assert (await OwnContexts().prepare(bare)) == (await OwnContexts(SHORT).prepare(bare))
    assert (await OwnContexts().prepare(bare)).sample is bare


def test_a_message_in_parts_has_no_place_for_passages() -> None:
    with pytest.raises(Unjudged, match="no plain text"):
        with_passages(Sample(id="a", input=[{"role": "user", "content": []}]), [], SHORT)


@settings(deadline=None)
@given(st.text(alphabet="{}passgeqution\\1", max_size=40), st.text(alphabet="{}passgeqution\\1", max_size=40))
def test_braces_in_texts_stay_text(passage: str, question: str) -> None:
    filled = prompt(SHORT, [Passage("d#0", passage)], question)
    assert filled == "[1] d#0\n" + passage + "\n---\n" + question


def test_the_default_template_holds_both() -> None:
    filled = prompt(TEMPLATE, [Passage("d#0", "{question}")], "{passages}")
    assert "[1] d#0\n{question}" in filled
    assert filled.endswith("Question: {passages}")


async def test_a_suite_without_retrieval_prepares_from_contexts(folder: Path) -> None:
    plain = SuiteConfig.model_validate({"suite": "s", "dataset": "d", "scorers": [{"name": "exact"}]})
    async with opened(plain, folder, None, environ={}, say=print, sleep=no_wait) as found:
        assert found == OwnContexts()


async def test_the_identity_follows_everything_that_changes_a_passage_or_a_prompt(folder: Path) -> None:
    digests = []
    for change in (
        {},
        {"k": 1},
        {"exact": True},
        {"template": SHORT + "!"},
        {"chunker": {"by": "paragraphs", "size": 5}},
    ):
        async with retriever(folder, **change) as found:
            digests.append(suite(**change).digest("sha256:0", identity(found.embedder, found)))
    (folder / "docs.jsonl").write_text(json.dumps({"id": "d0", "text": "red"}))
    async with retriever(folder) as found:
        digests.append(suite().digest("sha256:0", identity(found.embedder, found)))
    async with retriever(folder, Counting(digest="sha256:2")) as found:
        digests.append(suite().digest("sha256:0", identity(found.embedder, found)))
        assert identity(found.embedder, None) == {"embeddings": "sha256:2"}
    assert len(set(digests)) == 7


async def test_where_the_index_lies_changes_no_identity(folder: Path) -> None:
    async with retriever(folder) as found:
        here = identity(found.embedder, found)
    (folder / "elsewhere").mkdir()
    (folder / "docs.jsonl").rename(folder / "elsewhere/other.jsonl")
    async with retriever(folder, corpus="elsewhere/other.jsonl") as found:
        assert identity(found.embedder, found) == here


def test_the_command_that_a_refusal_names_makes_the_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a user: run, be refused, do what the message says, run again."""
    monkeypatch.chdir(folder)
    wanted = {"store": ".index", "collection": "mine", "chunker": {"by": "characters", "size": 5, "overlap": 1}}

    async def ask() -> list[str]:
        async with retriever(Path(), Wordllama(), **wanted) as found:
            return [passage.id for passage in (await found.prepare(Sample(id="a", input="green dog"))).passages or []]

    with pytest.raises(InputError) as caught:
        asyncio.run(ask())
    message = str(caught.value)
    assert message.startswith(
        "the store '.index' holds no index 'mine'; make it: `evals index docs.jsonl --into .index"
    )
    done = CliRunner().invoke(main, shlex.split(message.split("`")[1])[1:])
    assert done.exit_code == 0, done.output
    assert asyncio.run(ask())[0].startswith("d1#")
    (folder / "docs.jsonl").write_text(json.dumps({"id": "d9", "text": "other"}))
    with pytest.raises(InputError, match="its documents are others"):
        asyncio.run(ask())


async def test_a_servers_key_has_to_be_there(folder: Path) -> None:
    with pytest.raises(InputError, match="the variable 'QDRANT_KEY'"):
        async with retriever(folder, store="http://127.0.0.1:1", api_key_env="QDRANT_KEY"):
            pass


def test_the_command_names_where_a_served_model_is_asked() -> None:
    served = EmbeddingsConfig(model="bge", base_url="http://h/v1", api_key_env="EMBED_KEY")
    config = RetrievalConfig(corpus="x", store="http://q:6333", api_key_env="QDRANT_KEY")
    told = command(Path("my docs"), config, "http://q:6333", served)
    assert told == (
        "`evals index 'my docs' --into http://q:6333 --embedding bge --chunk document "
        "--store-key-env QDRANT_KEY --base-url http://h/v1 --api-key-env EMBED_KEY`"
    )
