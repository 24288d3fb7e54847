"""Of the files in a folder, those count that a trusted key signed; the others are named with the reason."""

import json
from pathlib import Path

import pytest

from gateway.contracts.errors import VerdictError
from gateway.stores.verdicts import MAX_BYTES, read_verdicts
from tests.gateway.builders import Signer, signer, verdict


@pytest.fixture
def gate(tmp_path: Path) -> Signer:
    return signer(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "verdicts"
    made.mkdir()
    return made


def _problem(folder: Path, gate: Signer) -> str:
    verdicts, problems = read_verdicts(folder, [gate.public])
    assert verdicts == []
    (problem,) = problems
    return problem


def test_signed_files_are_read_in_the_order_of_their_names(folder: Path, gate: Signer) -> None:
    gate.write(folder, verdict(answer="fail"), "b")
    gate.write(folder, verdict(answer="pass"), "a")
    assert read_verdicts(folder, [gate.public]) == ([verdict(answer="pass"), verdict(answer="fail")], [])


def test_a_folder_that_is_missing_or_empty_holds_nothing(tmp_path: Path, folder: Path, gate: Signer) -> None:
    assert read_verdicts(tmp_path / "nowhere", [gate.public]) == ([], [])
    assert read_verdicts(folder, [gate.public]) == ([], [])


def test_other_files_are_not_looked_at(folder: Path, gate: Signer) -> None:
    (folder / "notes.json").write_text("{}")
    (folder / "one.dsse.json.tmp").write_text("{")
    assert read_verdicts(folder, [gate.public]) == ([], [])


def test_a_strangers_signature_does_not_count(tmp_path: Path, folder: Path, gate: Signer) -> None:
    signer(tmp_path, "stranger").write(folder, verdict(), "theirs")
    assert _problem(folder, gate).startswith("theirs.dsse.json: no trusted key")


def test_any_of_several_trusted_keys_counts(tmp_path: Path, folder: Path, gate: Signer) -> None:
    other = signer(tmp_path, "other")
    other.write(folder, verdict())
    assert read_verdicts(folder, [gate.public, other.public])[0] == [verdict()]


def test_an_altered_file_does_not_count(folder: Path, gate: Signer) -> None:
    path = gate.write(folder, verdict(answer="fail"))
    other = json.loads(gate.write(folder, verdict(answer="pass"), "pass").read_bytes())
    envelope = json.loads(path.read_bytes())
    (folder / "pass.dsse.json").unlink()
    path.write_text(json.dumps({**envelope, "payload": other["payload"]}))
    assert "altered" in _problem(folder, gate)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"payload":1}', b"[" * 100_000])
def test_a_file_that_is_no_envelope_does_not_count(folder: Path, gate: Signer, content: bytes) -> None:
    (folder / "bad.dsse.json").write_bytes(content)
    assert _problem(folder, gate).startswith("bad.dsse.json: ")


def test_one_bad_file_does_not_hide_the_good_ones(folder: Path, gate: Signer) -> None:
    (folder / "a.dsse.json").write_text("{")
    gate.write(folder, verdict(), "b")
    verdicts, problems = read_verdicts(folder, [gate.public])
    assert verdicts == [verdict()]
    assert len(problems) == 1


def test_a_file_beyond_the_bound_is_not_read(folder: Path, gate: Signer) -> None:
    path = gate.write(folder, verdict())
    path.write_bytes(path.read_bytes().ljust(MAX_BYTES + 1))
    assert str(MAX_BYTES) in _problem(folder, gate)


def test_what_cannot_be_read_is_named(folder: Path, gate: Signer) -> None:
    (folder / "folder.dsse.json").mkdir()
    assert "cannot be read" in _problem(folder, gate)


def test_a_link_to_nothing_is_named(folder: Path, gate: Signer) -> None:
    (folder / "link.dsse.json").symlink_to(folder / "nothing")
    assert "cannot be read" in _problem(folder, gate)


def test_without_a_readable_key_nothing_can_be_decided(tmp_path: Path, folder: Path, gate: Signer) -> None:
    gate.write(folder, verdict())
    with pytest.raises(VerdictError, match=r"missing\.pub"):
        read_verdicts(folder, [gate.public, tmp_path / "missing.pub"])


def test_without_any_key_no_file_counts(folder: Path, gate: Signer) -> None:
    gate.write(folder, verdict())
    verdicts, problems = read_verdicts(folder, [])
    assert verdicts == []
    assert "trusted_keys" in problems[0]
