import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evals.qdrant_server import Qdrant, running


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    lines = [{"id": "a", "text": "The Team plan.\n\nIt costs 29."}, {"id": "b", "text": "How to reset a password"}]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "q.jsonl").write_text(
        '{"id": "q1", "input": "price of Team"}\n{"id": "q2", "input": "lost password"}\n'
    )


@pytest.fixture
def qdrant() -> Iterator[Qdrant]:
    with running(Qdrant()) as server:
        yield server


def test_a_corpus_is_indexed_once(evals) -> None:
    first, second = evals("index", "docs.jsonl", "--into", "ix"), evals("index", "--into", "ix", "docs.jsonl")
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert ": 2 chunks of 2 documents (2 embedded, 0 there already)\nmanifest: sha256:" in first.stdout
    assert ": 2 chunks of 2 documents (0 embedded, 2 there already)" in second.stdout


def test_other_settings_make_another_index_and_prune_removes_the_rest(evals) -> None:
    first = json.loads(evals("index", "docs.jsonl", "--into", "ix", "--json").stdout)
    cut = ("--chunk", "paragraphs", "--chunk-size", 15)
    second = json.loads(evals("index", "docs.jsonl", "--into", "ix", *cut, "--json").stdout)
    assert (first["chunks"], second["chunks"], second["others"]) == (2, 4, [first["collection"]])
    assert (
        f"also there (--prune deletes it): {first['collection']}"
        in evals("index", "docs.jsonl", "--into", "ix", *cut).stdout
    )
    done = evals("index", "docs.jsonl", "--into", "ix", *cut, "--prune")
    assert f"deleted: {first['collection']}" in done.stdout
    assert [each["name"] for each in json.loads(evals("index", "show", "ix", "--json").stdout)] == [
        second["collection"]
    ]


def test_show_tells_what_an_index_was_made_of(evals) -> None:
    made = json.loads(evals("index", "docs.jsonl", "--into", "ix", "--collection", "mine", "--json").stdout)
    shown = evals("index", "show", "ix").stdout
    row = next(line.split() for line in shown.splitlines() if "mine-" in line)
    assert row == [made["collection"], "2", "yes", "document", "wordllama", "256", made["manifest"][7:19]]


def test_show_tells_what_is_incomplete_or_of_others(evals, qdrant: Qdrant) -> None:
    made = json.loads(evals("index", "docs.jsonl", "--into", qdrant.url, "--json").stdout)
    qdrant.points[made["collection"]].popitem()
    qdrant.collections["theirs"], qdrant.points["theirs"] = {"vectors": {"size": 2, "distance": "Cosine"}}, {}
    shown = evals("index", "show", qdrant.url).stdout
    assert "no, of 2" in shown
    assert "not made by evals index" in shown


def test_a_store_that_is_not_there_is_told(evals, tmp_path: Path) -> None:
    result = evals("index", "show", "nowhere")
    assert (result.exit_code, "no store 'nowhere'" in result.stderr) == (3, True)
    assert not (tmp_path / "nowhere").exists()


def test_the_loss_of_a_servers_index_is_measured(evals, qdrant: Qdrant) -> None:
    made = json.loads(evals("index", "docs.jsonl", "--into", qdrant.url, "--json").stdout)
    asked = ("index", "loss", "q.jsonl", "--into", qdrant.url, "--collection", made["collection"], "-k", 1)
    whole = json.loads(evals(*asked, "--json").stdout)
    assert (whole["recall"], whole["questions"], whole["points"]) == (1.0, 2, 2)
    qdrant.hidden, qdrant.indexed = {"a#0"}, 1
    lost = evals(*asked)
    assert "recall@1 against exact search: 0.5000, 95% interval [" in lost.stdout
    assert "vectors in the index: 1 of 2" in lost.stdout
    assert "note: the server scans the 1 vectors" in lost.stdout


def test_local_mode_has_no_loss_to_measure_and_claims_none(evals) -> None:
    asked = ("index", "loss", "q.jsonl", "--into", "ix", "--collection", "docs-0")
    assert "its search is exact, and there is no loss to measure" in evals(*asked).stdout
    found = json.loads(evals(*asked, "--json").stdout)
    assert (found["exact"], found["recall"]) == (True, None)


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("docs.jsonl", "--into", ":memory:"), 2, "what is in memory is gone"),
        (("docs.jsonl", "--into", "ix", "--chunk", "paragraphs"), 2, "missing key 'size'"),
        (("nope.jsonl", "--into", "ix"), 3, "nope.jsonl: line 1: no such file"),
        (("docs.jsonl", "--into", "ix", "--store-key-env", "NO_SUCH_KEY"), 3, "the variable 'NO_SUCH_KEY'"),
        (("docs.jsonl", "--into", "ix", "--embedding", "m", "--api-key-env", "NO_SUCH"), 3, "the variable 'NO_SUCH'"),
    ],
)
def test_what_cannot_work_is_told(evals, args: tuple[str, ...], code: int, told: str) -> None:
    result = evals("index", *args)
    assert (result.exit_code, told in result.stderr) == (code, True), result.stderr


def test_a_served_model_is_asked_for_the_vectors(evals, serve) -> None:
    def reply(body: dict) -> tuple[int, dict]:
        return 200, {"data": [{"index": i, "embedding": [1, len(text)]} for i, text in enumerate(body["input"])]}

    done = evals("index", "docs.jsonl", "--into", "ix", "--embedding", "bge", "--base-url", serve(reply))
    assert done.exit_code == 0, done.output
    shown = json.loads(evals("index", "show", "ix", "--json").stdout)
    assert (shown[0]["manifest"]["embedding"], shown[0]["manifest"]["dimensions"]) == ("bge", 2)


def test_help_has_examples(evals) -> None:
    for args in (("index",), ("index", "build"), ("index", "show"), ("index", "loss")):
        assert "Examples:\n" in evals(*args, "--help").stdout
