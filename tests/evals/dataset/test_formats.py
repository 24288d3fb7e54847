import csv
import resource
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals import dataset
from evals.dataset.formats import load, save
from evals.schema import Sample
from gateway.contracts.errors import DocumentError, InputError

sys.path.insert(0, str(Path(__file__).parent))
from strategies import SAMPLES

SUFFIXES = [".jsonl", ".csv", ".parquet"]


@settings(max_examples=50)
@given(samples=SAMPLES, suffixes=st.permutations(SUFFIXES))
def test_the_digest_survives_every_way_through_the_formats(
    tmp_path_factory: pytest.TempPathFactory, samples: list[Sample], suffixes: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    wanted = dataset.whole_digest({sample.id: dataset.sample_digest(sample) for sample in samples})
    for suffix in suffixes:
        save(folder / f"d{suffix}", samples)
        loaded = load(folder / f"d{suffix}")
        assert list(loaded.samples) == samples
        assert loaded.digest == wanted
        samples = list(loaded.samples)


def test_a_plain_table_needs_no_json(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    row = 'a,"Price, please?","say ""5""",plans; price ,c'
    path.write_bytes(f"\ufeffid,input,reference,tags,cluster\r\n{row}\r\n\r\nb,Hi,,,\r\n".encode())
    first, second = load(path).samples
    assert first == Sample(id="a", input="Price, please?", reference='say "5"', tags=["plans", "price"], cluster="c")
    assert second == Sample(id="b", input="Hi")


def broken(path: Path, text: str) -> list[tuple[int, str]]:
    path.write_text(text, newline="")
    with pytest.raises(DocumentError) as caught:
        load(path)
    return [(mistake.line, mistake.message) for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "missing column 'id'"),
        ("id,input\n", 1, "no samples: expected a header"),
        ("id,question\n", 1, "unknown column 'question': the columns are id, input"),
        ("id,reference\na,b\n", 1, "missing column 'input'"),
        ("id,input,id\na,b,c\n", 1, "two columns are called 'id'"),
        ('id,input\na,"x\ny"\nb,x,y\n', 4, "expected 2 cells, as in the header, found 3"),
        ('id,input\na,"x" y\n', 2, "not valid CSV"),
        ("id,input\na,\n", 2, "input is empty"),
        ("id,input\n,x\n", 2, "id is empty"),
        ("id,input\na,x\na,y\n", 3, "duplicate id 'a': line 2 has it too"),
        ("id,input,tools\na,x,none\n", 2, "tools: expected JSON, such as"),
        ("id,input,relevant\na,x,{}\n", 2, "relevant is empty"),
    ],
)
def test_every_mistake_in_csv_has_its_line(tmp_path: Path, text: str, line: int, expected: str) -> None:
    ((number, message),) = broken(tmp_path / "d.csv", text)
    assert (number, expected in message) == (line, True), message


def test_reading_leaves_the_limit_of_the_csv_module_alone(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    save(tmp_path / "d.csv", [Sample(id="a", input="x" * (before + 1))])
    assert len(load(tmp_path / "d.csv").samples[0].input) == before + 1
    assert csv.field_size_limit() == before


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"id,input\n\xff")
    with pytest.raises(DocumentError, match="cannot be read"):
        load(tmp_path / "d.csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_is_named(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DocumentError, match="no such file"):
        load(tmp_path / f"d{suffix}")


@pytest.mark.parametrize("name", ["d.xlsx", "d"])
def test_another_format_is_refused_both_ways(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.jsonl, \.ndjson, \.csv, \.parquet"):
        load(tmp_path / name)
    with pytest.raises(InputError, match=r"\.jsonl, \.ndjson, \.csv, \.parquet"):
        save(tmp_path / name, [Sample(id="a", input="x")])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        save(tmp_path / "none" / "d.csv", [Sample(id="a", input="x")])


def test_more_mistakes_than_are_shown_are_counted(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("{\n" * 60)
    with pytest.raises(DocumentError, match="and 10 mistakes more"):
        load(tmp_path / "d.jsonl")


def test_a_line_nested_beyond_reason_is_a_mistake(tmp_path: Path) -> None:
    ((line, message),) = broken(tmp_path / "d.jsonl", "[" * 100_000)
    assert (line, "not valid JSON" in message) == (1, True)


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    """Windows' editors and shells write one, before JSON Lines as before CSV."""
    for name, mark in (("plain.jsonl", b""), ("marked.jsonl", b"\xef\xbb\xbf")):
        (tmp_path / name).write_bytes(mark + b'{"id": "a", "input": "x"}\r\n')
    assert load(tmp_path / "marked.jsonl").digest == load(tmp_path / "plain.jsonl").digest


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"d{suffix}"
    save(path, [Sample(id="a", input="before")])
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
    try:
        with pytest.raises(InputError, match="cannot be written"):
            save(path, [Sample(id="a", input="after")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])
