import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from evals import dataset
from evals.dataset import corpus
from evals.schema import Sample
from gateway.contracts.errors import InputError

QUESTION = "How expensive is the Team plan for a year?"
FAQ = Path(__file__).parents[3] / "datasets/orbit-faq"


def found(text: str, *texts: str) -> list[tuple[str, list[str]]]:
    document = corpus.Document("doc", texts)
    return [(f.level, f.samples) for f in corpus.check([Sample(id="a", input=text)], [document])]


def test_a_question_within_a_text_is_found_whatever_its_case_and_punctuation() -> None:
    assert found(QUESTION, "Customers ask: HOW expensive is the Team plan -- for a year. We say 29.") == [
        ("error", ["a"])
    ]


def test_the_words_have_to_stand_in_a_row() -> None:
    assert (
        found("one two three four five one two three four six", "one two three four six. one two three four five") == []
    )


def test_a_short_question_counts_where_it_is_a_text_of_its_own() -> None:
    assert found("Price Free?", "price free") == [("error", ["a"])]
    assert found("Price Free?", "the price free of charge") == []


def test_most_of_a_question_is_a_warning() -> None:
    words = [f"w{i}" for i in range(20)]
    assert found(" ".join(words), " ".join([*words[:18], "x", "y"])) == [("warning", ["a"])]
    assert found(" ".join(words), " ".join(words[:14])) == []


def test_answers_are_not_sought() -> None:
    document = corpus.Document("doc", ("The Team plan costs 29 dollars per month.",))
    sample = Sample(id="a", input=QUESTION, reference="The Team plan costs 29 dollars per month.")
    assert corpus.check([sample], [document]) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "corpus"
    (made / "deep").mkdir(parents=True)
    (made / "a.md").write_text(f"# Prices\n{QUESTION}\n")
    (made / "b.jsonl").write_text(json.dumps({"messages": [{"content": QUESTION}]}) + "\n\n")
    (made / "c.json").write_text(json.dumps([{"q": QUESTION}]))
    with (made / "deep" / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["q"], [QUESTION]])
    pyarrow.parquet.write_table(pyarrow.table({"q": [QUESTION]}), made / "e.parquet")
    (made / "f.bin").write_bytes(b"\xff")
    return made


@pytest.mark.parametrize("name", ["a.md", "b.jsonl", "c.json", "deep/d.csv", "e.parquet"])
def test_every_kind_of_file_is_read(folder: Path, name: str) -> None:
    documents = corpus.documents([folder / name], Path("d.jsonl"), lambda file: None)
    (finding,) = corpus.check([Sample(id="a", input=QUESTION)], documents)
    assert name in finding.message


def test_an_id_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps({"id": "error.e141.meaning", "q": "東京の料金"}) + "\n")
    documents = list(corpus.documents([tmp_path], Path("d.jsonl"), lambda file: None))
    assert corpus.check([Sample(id="a", input="Error E141, meaning?")], documents) == []
    assert len(corpus.check([Sample(id="a", input="東京の料金?")], documents)) == 1


def test_a_folder_is_read_without_the_data_set_itself(folder: Path) -> None:
    read: list[str] = []
    list(corpus.documents([folder], folder / "b.jsonl", lambda file: read.append(file.name)))
    assert read == ["a.md", "c.json", "d.csv", "e.parquet"]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "found none that holds a text"),
        (lambda path: path.write_bytes(b"\xff"), "expected text in UTF-8"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_refused(tmp_path: Path, make: Callable[[Path], object], expected: str) -> None:
    make(tmp_path / "c.txt")
    with pytest.raises(InputError, match=expected):
        list(corpus.documents([tmp_path / "c.txt"], Path("d.jsonl"), lambda file: None))


def test_broken_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text("{\n")
    with pytest.raises(InputError, match="not valid JSON"):
        list(corpus.documents([tmp_path / "c.jsonl"], Path("d.jsonl"), lambda file: None))


def test_held_out_questions_that_training_questions_contain_are_found() -> None:
    data = dataset.load(FAQ / "heldout.jsonl")
    documents = list(corpus.documents([FAQ / "train.jsonl"], data.path, lambda file: None))
    errors = [f for f in corpus.check(data.samples, documents) if f.level == "error"]
    trained = [f" {corpus.fold(s.input)} " for s in dataset.load(FAQ / "train.jsonl").samples]
    asked = {s.id: corpus.fold(s.input) for s in data.samples}
    inside = {
        i for i, text in asked.items() if len(text.split()) >= corpus.RUN and any(f" {text} " in t for t in trained)
    }
    assert {each for finding in errors for each in finding.samples} == inside
    assert inside


def test_a_cell_of_a_corpus_may_be_as_long_as_one_of_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(f"text\n{'word ' * 50_000}{QUESTION}\n")
    read = corpus.documents([tmp_path / "c.csv"], tmp_path / "d.jsonl", print)
    assert [f.level for f in corpus.check([Sample(id="a", input=QUESTION)], read)] == ["error"]


@pytest.mark.parametrize(("name", "text"), [("c.json", "[" * 99_999), ("c.jsonl", "[" * 99_999), ("c.csv", 'a\n"b\n')])
def test_what_is_not_what_its_suffix_says_is_told(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="not valid"):
        list(corpus.documents([tmp_path / name], tmp_path / "d.jsonl", print))
