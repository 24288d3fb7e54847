from pathlib import Path

import pytest

from evals import labels
from evals.schema import Passage
from gateway.contracts.errors import DocumentError, InputError
from tests.evals.labels_bench import BINARY, label_file, label_set, line

GRADES: dict[str | int | float, float] = {1: 0.0, 2: 0.5, 3: 1.0}


def test_labels_become_values(tmp_path: Path) -> None:
    found = label_set(tmp_path / "l", line("a", 1), line("b", "fail"), line("c", True), line("d", False))
    assert found.truth == {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0}
    assert label_set(tmp_path / "g", line("a", 2), line("b", 3), scale=GRADES).truth == {"a": 0.5, "b": 1.0}


def test_of_several_people_the_most_frequent_label_counts(tmp_path: Path) -> None:
    found = label_set(tmp_path / "l", line("a", None, labels=[1, 1, 0]), line("b", 0, labels=[1, 0]))
    assert found.truth == {"a": 1.0, "b": 0.0}
    assert found.people == {"a": (1.0, 1.0, 0.0), "b": (1.0, 0.0)}


def test_a_labelled_answer_is_a_sample_and_an_answer(tmp_path: Path) -> None:
    made = label_set(tmp_path / "l", line("a", reference="r", contexts=["c"], cluster="k", tags=["t"])).samples[0]
    assert (made.sample().input, made.sample().references(), made.sample().cluster) == ("question a", ["r"], "k")
    assert (made.said().text, made.said().passages) == ("answer a", [Passage("0", "c")])


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    one, two = line("a"), line("b", 0)
    digest = label_set(tmp_path / "l", one, two).digest
    assert label_set(tmp_path / "m", two, one).digest == digest
    for other in (line("b", 1), line("b", 0, answer="other"), line("c", 0), line("b", 0, labels=[0])):
        assert label_set(tmp_path / "n", one, other).digest != digest


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = label_file(tmp_path / "l", line("a"), line("b", 0))
    digest = labels.load(path, BINARY).digest
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert labels.load(path, BINARY).digest == digest


def test_a_split_is_a_set_of_its_own(tmp_path: Path) -> None:
    path = label_file(tmp_path / "l", line("a", split="dev"), line("b", split="test"), line("c"))
    assert list(labels.load(path, BINARY, split="test").truth) == ["b"]
    assert list(labels.load(path, BINARY).truth) == ["a", "b", "c"]
    with pytest.raises(InputError, match="no labelled sample of split 'final'"):
        labels.load(path, BINARY, split="final")


def test_an_id_is_one_answer_whatever_the_split(tmp_path: Path) -> None:
    path = label_file(tmp_path / "l", line("a", 0, split="dev"), line("a", 1, split="test"))
    with pytest.raises(DocumentError, match="l: line 2: duplicate id 'a'"):
        labels.load(path, BINARY, split="test")


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (line("b", 2), "label 2 is not on the judge's scale: 0, 1, 'fail', 'pass'"),
        (line("b", None), "missing key 'label'"),
        (line("b", None, labels=[1, 0]), "no most frequent one"),
        (line("b", 1, labels=[7]), "label 7 is not"),
        (line("a"), "duplicate id 'a'"),
        (line("b", answer=None), "'id', 'input' and 'answer'"),
        (line("b", input=""), "'id', 'input' and 'answer'"),
        (line("b", lable=1), "unknown field `lable`: the fields known here are id, input, answer, label, labels, "),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, wrong: dict[str, object], expected: str) -> None:
    with pytest.raises(DocumentError, match="l: line 2") as failed:
        label_set(tmp_path / "l", line("a"), wrong)
    assert expected in str(failed.value)


def test_mistakes_that_are_left_out_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="and 10 mistakes more"):
        label_set(tmp_path / "l", *(line(f"a{at}", 7) for at in range(60)))


def test_json_that_is_too_deep_is_a_mistake_of_its_line(tmp_path: Path) -> None:
    deep = "[" * 5000 + "]" * 5000
    (tmp_path / "l").write_text(f'{{"id": "a", "input": [{{"role": {deep}}}], "answer": "x", "label": 1}}\n')
    with pytest.raises(DocumentError, match="line 1: maximum recursion depth"):
        labels.load(tmp_path / "l", BINARY)


def test_true_is_no_grade(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="label 'pass' is not on the judge's scale: 1, 2, 3"):
        label_set(tmp_path / "l", line("a", True), scale=GRADES)


def test_labels_of_a_run_need_no_answers(tmp_path: Path) -> None:
    path = label_file(tmp_path / "l", {"id": "a", "label": 1})
    assert labels.load(path, BINARY, answers=False).truth == {"a": 1.0}
    with pytest.raises(DocumentError):
        labels.load(path, BINARY)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no labelled sample: expected one JSON object a line"):
        label_set(tmp_path / "l")
