from pathlib import Path

import pytest

from evals import scorers
from evals.config import SuiteConfig, load_suite
from gateway.contracts.errors import DocumentError

SUITE = """suite: docs
dataset: q.jsonl
scorers: [{name: exact}]
"""
RAG = """embeddings: {model: wordllama}
retrieval:
  corpus: docs.jsonl
  chunker: {by: paragraphs, size: 800}
  k: 3
"""


def load(folder: Path, text: str) -> SuiteConfig:
    path = folder / "suite.yaml"
    path.write_text(text)
    return load_suite(path, scorers.build)


def test_a_suite_says_where_its_passages_come_from(tmp_path: Path) -> None:
    suite = load(tmp_path, SUITE + RAG)
    assert suite.retrieval is not None
    assert (suite.retrieval.k, suite.retrieval.chunker.size, suite.retrieval.store) == (3, 800, ":memory:")


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("  k: 3", "  kk: 3", 8, "unknown key 'kk'"),
        ("size: 800", "sizes: 800", 7, "unknown key 'sizes': did you mean 'size'?"),
        ("{model: wordllama}", "{modell: x}", 4, "unknown key 'modell': did you mean 'model'?"),
        ("embeddings: {model: wordllama}\n", "", 1, "retrieval needs a model"),
        ("  k: 3", "  template: hello", 8, "expected {passages} once"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, told: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load(tmp_path, (SUITE + RAG).replace(old, new))
    found = [(mistake.line, mistake.message) for mistake in caught.value.mistakes]
    assert any(told in message for _, message in found), found
    assert line in [number for number, _ in found]


def test_a_suite_without_retrieval_keeps_its_digest(tmp_path: Path) -> None:
    """Verdicts bind this digest: those that were signed before `retrieval` was there still count."""
    digest = load(tmp_path, SUITE).digest("sha256:" + "a" * 64)
    assert digest == "sha256:aef85ce8320a778550765fc4664a0efb8ec541a607a0fa29fffd22cb0f26f751"


def test_a_digest_without_the_index_would_be_of_any_documents(tmp_path: Path) -> None:
    plain, rag = load(tmp_path, SUITE), load(tmp_path, SUITE + RAG)
    with pytest.raises(ValueError, match="needs their identity"):
        rag.digest("sha256:x")
    with pytest.raises(ValueError, match="no other takes one"):
        plain.digest("sha256:x", {"index": "1"})
    digests = {rag.digest("sha256:x", {"index": index}) for index in ("1", "2")} | {plain.digest("sha256:x")}
    assert len(digests) == 3
