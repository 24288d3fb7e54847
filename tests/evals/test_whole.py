import os
import stat
from pathlib import Path

import pytest

from evals import whole


def test_a_file_is_there_once_all_of_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    path.chmod(0o600)
    with whole.beside(path) as made:
        made.write_text("after")
        assert path.read_text() == "before"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("after", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError), whole.beside(path) as made:
        made.write_text("after \ud800", encoding="utf-8")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "link").symlink_to("file")
    with whole.beside(tmp_path / "link") as made:
        made.write_text("after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after"


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with whole.beside(tmp_path / "pipe") as made:
        assert made == (tmp_path / "pipe").resolve()
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), whole.beside(tmp_path / "file" / "a") as made:
        made.write_text("")


@pytest.mark.parametrize(
    ("there", "may"),
    [(None, True), (b"", True), (b"<!DOCTYPE html><p>", True), (b"<!doc", False), (b"schema: x", False)],
)
def test_a_file_is_written_over_nothing_but_its_like(tmp_path: Path, there: bytes | None, may: bool) -> None:
    path = tmp_path / "a.html"
    if there is not None:
        path.write_bytes(there)
    assert whole.may_write(path, b"<!doctype html>") is may


def test_a_pipe_is_not_read_and_a_folder_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert whole.may_write(tmp_path / "pipe", b"x")
    with pytest.raises(IsADirectoryError):
        whole.may_write(tmp_path, b"x")
