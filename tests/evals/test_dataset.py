from pathlib import Path

import pytest

from evals.dataset import load, sample_digest, whole_digest
from evals.schema import Sample
from gateway.contracts.errors import DocumentError

GOOD = '{"id": "a", "input": "How much?", "reference": "5", "tags": ["price"], "cluster": "c"}'


def write(folder: Path, *lines: str) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def mistakes(folder: Path, *lines: str) -> list[tuple[int, str]]:
    with pytest.raises(DocumentError) as caught:
        load(write(folder, *lines))
    return [(mistake.line, mistake.message) for mistake in caught.value.mistakes]


def test_samples_read_in_order_with_their_digests(tmp_path: Path) -> None:
    data = load(write(tmp_path, GOOD, "", '{"id": "b", "input": [{"role": "user", "content": "Hi"}]}'))
    assert [sample.id for sample in data.samples] == ["a", "b"]
    assert data.samples[0].tags == ["price"]
    assert data.digests["a"] == sample_digest(data.samples[0])
    assert data.digest == whole_digest(data.digests)


def test_the_digest_does_not_depend_on_order_or_spelling_of_defaults(tmp_path: Path) -> None:
    one = load(write(tmp_path, GOOD, '{"id": "b", "input": "Hi"}')).digest
    two = load(write(tmp_path, '{"cluster": null, "input": "Hi", "tags": [], "id": "b"}', GOOD)).digest
    assert one == two


@pytest.mark.parametrize(
    "more",
    [
        '"follow_ups": ["And then?"]',
        '"tools": [{"type": "function", "function": {"name": "f"}}]',
        '"expected_calls": [{"name": "f"}]',
        '"expected_calls": []',
        '"relevant": ["d1"]',
        '"contexts": ["A plan costs 5."]',
        '"contexts": []',
    ],
)
def test_what_not_every_sample_has_counts_where_it_is_set(tmp_path: Path, more: str) -> None:
    with_more = GOOD.replace("}", f", {more}}}")
    assert load(write(tmp_path, GOOD)).digest != load(write(tmp_path, with_more)).digest


@pytest.mark.parametrize("change", [("How much", "How many"), ('"5"', '"6"'), ('"price"', '"cost"'), ('"c"', '"d"')])
def test_the_digest_changes_with_every_field(tmp_path: Path, change: tuple[str, str]) -> None:
    assert load(write(tmp_path, GOOD)).digest != load(write(tmp_path, GOOD.replace(*change))).digest


def test_a_duplicate_id_is_named_with_both_lines(tmp_path: Path) -> None:
    ((line, message),) = mistakes(tmp_path, GOOD, '{"id": "b", "input": "x"}', GOOD)
    assert line == 3
    assert "duplicate id 'a': line 1 has it too" in message


def test_every_broken_line_is_named(tmp_path: Path) -> None:
    found = mistakes(tmp_path, '{"id": "a", ', GOOD, "[1]", '{"id": "c"}', '{"id": "d", "input": "x", "tag": []}')
    assert [line for line, _ in found] == [1, 3, 4, 5]
    assert "not valid JSON" in found[0][1]
    assert "expected a JSON object" in found[1][1]
    assert "missing key 'input'" in found[2][1]
    assert "unknown key 'tag'" in found[3][1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"id": 5, "input": "x"}', "id"),
        ('{"id": "", "input": "x"}', "id is empty"),
        ('{"id": "a", "input": ""}', "input is empty"),
        ('{"id": "a", "input": []}', "input is empty"),
        ('{"id": "a", "input": [{"role": "robot", "content": "x"}]}', r"input[0]"),
        ('{"id": "a", "input": [{"role": "user"}]}', r"input[0]"),
        ('{"id": "a", "input": "x", "reference": []}', "reference is an empty list"),
        ('{"id": "a", "input": "x", "cluster": ""}', "cluster is empty"),
        ('{"id": "a", "input": "x", "reference": 5}', "reference"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(tmp_path: Path, line: str, expected: str) -> None:
    ((number, message),) = mistakes(tmp_path, line)
    assert number == 1
    assert expected in message


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    ((_, message),) = mistakes(tmp_path, "", "")
    assert "no samples" in message


def test_a_missing_file_is_a_document_error(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no such file"):
        load(tmp_path / "none.jsonl")


def test_samples_by_tag(tmp_path: Path) -> None:
    data = load(write(tmp_path, GOOD, '{"id": "b", "input": "x"}'))
    assert [sample.id for sample in data.tagged("price")] == ["a"]
    assert data.tagged("nothing") == []
    assert len(data.tagged(None)) == 2


def test_the_digest_is_stable_across_versions() -> None:
    sample = Sample(id="a", input="How much?", reference="5", tags=["price"], cluster="c")
    assert sample_digest(sample) == "sha256:f864172bc6ba8aa803a2ca9abf703465ddbb1bfb91119d755053d5709d997b9c"
