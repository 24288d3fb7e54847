"""Files of other tools."""

import math
import zipfile
from pathlib import Path

import pytest

from evals.exchange.files import archived, objects, read_object
from gateway.contracts.errors import InputError

EVAL = Path(__file__).parents[2] / "samples" / "exchange" / "inspect" / "good.eval"


def test_nan_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"value": NaN}')
    assert math.isnan(read_object(tmp_path / "a.json", "a log")["value"])


@pytest.mark.parametrize(("text", "said"), [("{", "found no JSON"), ("[1]", "found a list"), ("\xff", "found no JSON")])
def test_what_is_no_object_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=f"expected a log.*{said}"):
        read_object(tmp_path / "a.json", "a log")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_object(tmp_path / "a.json", "a log")


def test_an_archive_that_is_not_there_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file '.*nope\.eval': name a log"):
        list(archived(tmp_path / "nope.eval", "a log"))


def test_lines_are_read_and_a_bad_one_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert list(objects(path, "samples")) == [{"a": 1}, {"a": 2}]
    path.write_text('{"a": 1}\n7\n')
    with pytest.raises(InputError, match="line 2: expected samples"):
        list(objects(path, "samples"))


def test_an_archive_packed_with_zstandard_is_read() -> None:
    with zipfile.ZipFile(EVAL) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {93}
    entries = dict(archived(EVAL, "a log"))
    assert entries["header.json"]["eval"]["task"] == "numbers"
    assert sum(name.startswith("samples/") for name in entries) == 21


def test_an_ordinary_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", '{"a": 1}')
        archive.writestr("list.json", "[1]")
        archive.writestr("other.txt", "x")
    assert dict(archived(tmp_path / "a.eval", "a log")) == {"header.json": {"a": 1}, "list.json": {"": [1]}}


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    data = bytearray(EVAL.read_bytes())
    data[400] ^= 0xFF
    (tmp_path / "bit.eval").write_bytes(data)
    (tmp_path / "none.eval").write_bytes(b"PK nothing")
    for name in ("bit.eval", "none.eval"):
        with pytest.raises(InputError, match="expected a log, found a damaged archive"):
            list(archived(tmp_path / name, "a log"))
