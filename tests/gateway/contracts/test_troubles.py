"""What a database that fails says, in one line that helps."""

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from gateway.contracts.troubles import told


def _failed(reason: str) -> OperationalError:
    return OperationalError("INSERT INTO keys VALUES (?)", ("a value",), sqlite3.OperationalError(reason))


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("attempt to write a readonly database", "let this user write its file"),
        ("unable to open database file", "expected a file that this user may read and write"),
        ("database or disk is full", "make room on its disk"),
        ("permission denied for table keys", "give this user the rights"),
    ],
)
def test_what_is_known_is_told_with_what_to_do(reason: str, remedy: str) -> None:
    text = told(_failed(reason), "try again")
    assert text.startswith(f"{reason}; {remedy}")
    assert "INSERT" not in text
    assert "a value" not in text


def test_anything_else_is_one_line_and_what_the_caller_says() -> None:
    assert told(_failed("odd\n  thing")) == "odd thing"
    assert told(_failed("odd thing"), "try again") == "odd thing; try again"
    assert told(OSError(28, "No space left on device")) == "[Errno 28] No space left on device; make room on its disk"
