"""What the folder of verdicts says, judged when it changes and when time changes it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.control_plane.gates import Gates
from gateway.settings.enforcement import Enforcement
from tests.gateway.builders import MOMENT, NOW, Signer, release, signer, verdict

ONE, TWO = release("faq@1"), release("faq@2")
HOUR = 3600.0


class Folder:
    """A folder of verdicts, its gates, and what was told."""

    def __init__(self, folder: Path, gate: Signer) -> None:
        self.folder, self.gate, self.told = folder / "verdicts", gate, list[str]()
        self.folder.mkdir()
        self.gates = self.made()

    def made(self, mode: str = "require") -> Gates:
        described = {"mode": mode, "trusted_keys": [self.gate.public], "verdicts": self.folder}
        return Gates(Enforcement.model_validate(described), [ONE, TWO], self.told.append)

    def write(self, name: str = "one", answer: str = "pass", *, created: float = -1.0, expires: float = 24.0) -> Path:
        """Hours from MOMENT."""
        made = verdict(
            ONE.digest,
            answer,
            created=MOMENT + timedelta(hours=created),
            expires=MOMENT + timedelta(hours=expires),
        )
        return self.gate.write(self.folder, made, name)

    def closed(self, now: float) -> str | None:
        return self.gates.look(now)["faq@1"].closed(now)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    return Folder(tmp_path, signer(tmp_path))


def test_nothing_is_judged_again_while_nothing_changed(folder: Folder) -> None:
    folder.write()
    seen = folder.gates.look(NOW)
    assert folder.gates.look(NOW + HOUR) is seen
    folder.write("two", "fail", created=-0.5)
    assert folder.gates.look(NOW + HOUR) is not seen
    assert "fail" in (folder.closed(NOW + HOUR) or "")


def test_a_file_that_changed_in_its_place_is_read_anew(folder: Folder) -> None:
    folder.write(expires=1)
    assert folder.closed(NOW) is None
    folder.write(answer="fail", created=-0.5)
    assert "fail" in (folder.closed(NOW) or "")


def test_one_that_expired_says_so_and_when(folder: Folder) -> None:
    folder.write(expires=2)
    assert folder.closed(NOW + 2 * HOUR - 1) is None
    assert f"expired at {(MOMENT + timedelta(hours=2)).isoformat()}" in (folder.closed(NOW + 2 * HOUR) or "")


def test_one_from_the_future_counts_once_it_is_time_and_not_when_the_clock_went_back(folder: Folder) -> None:
    folder.write(created=1)
    assert "in the future" in (folder.closed(NOW) or "")
    assert folder.closed(NOW + HOUR) is None
    assert "in the future" in (folder.closed(NOW) or "")


def test_without_a_folder_or_enforcement_there_is_nothing_to_say(folder: Folder) -> None:
    folder.folder.rmdir()
    assert "no verdict" in (folder.closed(NOW) or "")
    assert folder.made("off").look(NOW) == {}
    assert folder.told == []


def test_what_is_wrong_with_a_file_is_told_and_found_again_when_it_is_mended(folder: Folder) -> None:
    path = folder.write()
    good = path.read_bytes()
    path.write_bytes(good[:-9])
    assert "no verdict" in (folder.closed(NOW) or "")
    assert ["one.dsse.json" in each for each in folder.told] == [True]
    path.write_bytes(good)
    assert folder.closed(NOW) is None


def test_a_folder_that_cannot_be_looked_at_for_now_is_not_an_empty_one(folder: Folder) -> None:
    folder.write()
    seen = folder.gates.look(NOW)
    away = folder.folder.rename(folder.folder.with_name("away"))
    folder.folder.symlink_to(folder.folder)
    with pytest.raises(OSError, match="symbolic links"):
        folder.gates.look(NOW)
    folder.folder.unlink()
    away.rename(folder.folder)
    assert folder.gates.look(NOW) is seen
