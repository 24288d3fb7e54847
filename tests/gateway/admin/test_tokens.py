"""Tokens: who is behind one, and what becomes of one that changes."""

import logging
from pathlib import Path

import pytest

from gateway.admin.tokens import Operator, Tokens
from gateway.contracts.errors import InputError, InvalidKey
from gateway.settings.admin import AdminToken

ONE, TWO = "1" * 32, "2" * 64


def _bearer(text: str) -> bytes:
    return f"Bearer {text}".encode()


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tokens:
    (tmp_path / "one").write_text(f"{ONE}\n")
    monkeypatch.setenv("TWO", TWO)
    return Tokens({"one": AdminToken(role="write", file=tmp_path / "one"), "two": AdminToken(env="TWO")})


def test_a_token_has_a_name_and_a_role(tokens: Tokens) -> None:
    assert tokens.operator(_bearer(ONE)) == Operator("one", "write")
    assert tokens.operator(b"bearer " + TWO.encode()) == Operator("two", "read")
    assert tokens.operators == [Operator("one", "write"), Operator("two", "read")]


@pytest.mark.parametrize(
    "shown",
    [
        None, b"", b"Bearer", b"Bearer ", b"Basic " + ONE.encode(), ONE.encode(), _bearer(ONE[:-1]), _bearer(ONE + "1"),
        _bearer(ONE + TWO), b"Bearer \xff\x00", b"Bearer " + b"9" * 100_000,
    ],
)  # fmt: skip
def test_nothing_else_is_one(tokens: Tokens, shown: bytes | None) -> None:
    with pytest.raises(InvalidKey) as error:
        tokens.operator(shown)
    assert ONE not in str(error.value)


@pytest.mark.parametrize("text", ["", "short", "a" * 31, "a b" * 20, "ü" * 40, "a" * 1025])
def test_a_token_that_could_be_guessed_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "t").write_text(text)
    with pytest.raises(InputError) as error:
        Tokens({"t": AdminToken(file=tmp_path / "t")})
    assert not text or text not in str(error.value)


def test_a_token_that_is_not_there_and_two_that_are_the_same_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NOT_SET_ANYWHERE"):
        Tokens({"t": AdminToken(env="NOT_SET_ANYWHERE")})
    (tmp_path / "t").write_text(ONE)
    with pytest.raises(InputError, match="are the same"):
        Tokens({"a": AdminToken(file=tmp_path / "t"), "b": AdminToken(file=tmp_path / "t")})


def test_a_file_that_changes_counts_at_once(tokens: Tokens, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "one").write_text("3" * 40)
    with pytest.raises(InvalidKey):
        tokens.operator(_bearer(ONE))
    assert tokens.operator(_bearer("3" * 40)) == Operator("one", "write")
    (tmp_path / "one").unlink()
    with pytest.raises(InvalidKey):
        tokens.operator(_bearer("3" * 40))
    assert "'one' opens nothing until this is mended" in caplog.text
    (tmp_path / "one").write_text(ONE)
    assert tokens.operator(_bearer(ONE)) == Operator("one", "write")
    assert not any(each in caplog.text for each in (ONE, TWO, "3" * 40))
