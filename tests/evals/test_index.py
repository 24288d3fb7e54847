from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evals.index import Manifest, Stored, absent, base_name, differences, full_name, is_of, manifest_of, why
from evals.retrieval_config import ChunkerConfig
from tests.evals.rag_tools import Counting, made

TEXTS = ("red cat", "green dog", "blue sea")
PARAGRAPHS = ChunkerConfig(by="paragraphs", size=5)


def test_the_same_corpus_has_the_same_manifest() -> None:
    assert made(*TEXTS)[1].digest() == made(*TEXTS)[1].digest()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (made("red cat", "green dog", "blue seas")[1], "its documents are others (3 chunks, expected 3)"),
        (made("red cat", "green dog")[1], "its documents are others (2 chunks, expected 3)"),
        (made(*TEXTS, by=PARAGRAPHS)[1], "its chunker is by paragraphs, size 5, expected by document"),
        (made(*TEXTS, embedder=Counting(name="m2"))[1], "its embedding model is 'm2', expected 'counting'"),
        (made(*TEXTS, embedder=Counting(digest="sha256:2"))[1], "its embedding model 'counting' was another release"),
        (made(*TEXTS, embedder=Counting(dimensions=7))[1], "its vectors have 7 dimensions, expected 6"),
    ],
)
def test_each_part_changes_the_digest_and_is_told_alone(other: Manifest, told: str) -> None:
    wanted = made(*TEXTS)[1]
    assert other.digest() != wanted.digest()
    assert differences(wanted, other) == [told]


def test_every_field_is_in_the_digest() -> None:
    wanted = made(*TEXTS)[1]
    changed = {"version": "v0", "documents": "x", "chunks": 9, "chunker": {}, "embedding": "x", "embedding_digest": "x"}
    changed |= {"dimensions": 9, "distance": "dot", "normalised": False}
    assert set(changed) == set(Manifest.__struct_fields__)
    assert len({replace(wanted, **{key: value}).digest() for key, value in changed.items()} | {wanted.digest()}) == 10
    for key in ("version", "distance", "normalised"):
        assert len(differences(wanted, replace(wanted, **{key: changed[key]}))) == 1


@settings(deadline=None)
@given(st.permutations(range(3)))
def test_the_order_of_chunks_changes_nothing(order: list[int]) -> None:
    chunks, wanted = made(*TEXTS)
    assert manifest_of([chunks[i] for i in order], ChunkerConfig(), Counting()) == wanted


def test_names_come_from_the_corpus_and_the_digest() -> None:
    manifest = made(*TEXTS)[1]
    base = base_name(Path("some where/help pages.jsonl"), None)
    assert (base, base_name(Path("x"), "mine")) == ("help-pages", "mine")
    name = full_name(base, manifest)
    assert name == "help-pages-" + manifest.digest()[7:19]
    assert is_of(name, "help-pages")
    assert not is_of(name, "help")
    assert not is_of("help-pages-old", "help-pages")


def test_a_folder_named_by_a_dot_gives_the_folders_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "handbook").mkdir()
    monkeypatch.chdir(tmp_path / "handbook")
    assert base_name(Path(), None) == "handbook"


def test_of_several_indexes_the_nearest_is_compared() -> None:
    wanted = made(*TEXTS)[1]
    near = Stored("d-1", replace(wanted, documents="x", chunks=2), 2, 0, True)
    far = Stored("d-0", replace(wanted, documents="x", embedding="m", chunker={"by": "x"}), 3, 0, True)
    assert "of 'd-1', its documents are others" in absent("s", "d", wanted, [far, near])
    assert absent("s", "d", wanted, []) == "the store 's' holds no index 'd'"
    assert why(wanted, None) == "it holds no manifest"
