from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from evals import dataset
from evals.dataset import parquet
from evals.schema import Sample, ToolCall
from gateway.contracts.errors import DocumentError, InputError


def table(path: Path, **columns: object) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_native_lists_structs_and_maps_are_read(tmp_path: Path) -> None:
    grades = pyarrow.array([[("d1", 2.0)], None], type=pyarrow.map_(pyarrow.string(), pyarrow.float64()))
    path = table(
        tmp_path / "d.parquet",
        id=["a", "b"],
        input=[[{"role": "user", "content": "Hi", "name": None}], [{"role": "user", "content": None, "name": "Jo"}]],
        reference=[["5", "five"], None],
        tags=[["t"], []],
        expected_calls=[[{"name": "f", "arguments": {"x": 1}}], None],
        relevant=grades,
    )
    first, second = dataset.load(path).samples
    assert first == Sample(
        id="a",
        input=[{"role": "user", "content": "Hi"}],
        reference=["5", "five"],
        tags=["t"],
        expected_calls=[ToolCall("f", {"x": 1})],
        relevant={"d1": 2.0},
    )
    assert second == Sample(id="b", input=[{"role": "user", "content": None, "name": "Jo"}])


def test_text_columns_are_read_as_cells_of_a_csv_file(tmp_path: Path) -> None:
    path = table(tmp_path / "d.parquet", id=["a"], input=["Hi"], tags=["x;y"], contexts=['["A plan costs 5."]'])
    assert dataset.load(path).samples == (Sample(id="a", input="Hi", tags=["x", "y"], contexts=["A plan costs 5."]),)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"id": ["a", "b"], "input": ["x", None]}, "row 2: missing key 'input'"),
        ({"id": [1], "input": ["x"]}, "row 1: Expected `str`, got `int`"),
        ({"id": ["a", "a"], "input": ["x", "y"]}, "row 2, id: duplicate id 'a': row 1 has it too"),
        ({"id": ["a"], "question": ["x"]}, "columns: unknown column 'question'"),
        ({"id": ["a"]}, "columns: missing column 'input'"),
        ({"id": ["a"], "input": ["x"], "relevant": [{"d": float("nan")}]}, "expected a grade above 0, found nan"),
        ({"id": ["a"], "input": ["x"], "tools": ["f"]}, "row 1: tools: expected JSON"),
    ],
)
def test_every_mistake_has_its_row(tmp_path: Path, columns: dict[str, object], expected: str) -> None:
    path = table(tmp_path / "d.parquet", **columns)
    with pytest.raises(DocumentError) as caught:
        dataset.load(path)
    assert expected in str(caught.value)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.parquet").write_text("id,input\n")
    with pytest.raises(InputError, match="expected a Parquet file"):
        dataset.load(tmp_path / "d.parquet")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = table(tmp_path / "d.parquet", id=["a"] * 1000, input=[f"x{i}" for i in range(1000)])
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="the file is damaged"):
        dataset.load(path)


def test_an_empty_file_has_no_samples(tmp_path: Path) -> None:
    path = table(
        tmp_path / "d.parquet", id=pyarrow.array([], pyarrow.string()), input=pyarrow.array([], pyarrow.string())
    )
    with pytest.raises(DocumentError, match="no samples: expected a row for each sample"):
        dataset.load(path)


def test_any_table_has_rows_of_texts(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", body=["A plan costs 5.", "Hi"], n=[1, 2])
    assert list(parquet.texts(path)) == [{"body": "A plan costs 5.", "n": 1}, {"body": "Hi", "n": 2}]
    with pytest.raises(InputError, match="no such file"):
        parquet.texts(tmp_path / "none.parquet")
