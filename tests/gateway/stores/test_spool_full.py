"""A full disk: what is admitted is not lost, and what is refused is said to be."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from gateway.contracts.errors import LedgerFull
from gateway.contracts.ledger import LedgerRow
from gateway.stores import spool as spools
from gateway.stores.spool import Spool, decode, recover
from tests.gateway.builders import kill, room_for, row, settled


def _recovered(folder: Path) -> dict[str, str]:
    rows: list[LedgerRow] = []
    recover(folder, rows.extend)
    return {each.request_id: each.outcome for each in rows}


def _taken(spool: Spool) -> list[LedgerRow]:
    return [decode(line) for line in spool.take()]


def _ids(rows: Sequence[LedgerRow]) -> list[str]:
    return [each.request_id for each in rows]


def test_a_full_disk_may_be_served_on_with_rows_in_memory(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a", step_bytes=512, when_full="serve")
    spool.admit(row("before"))
    with room_for(tmp_path, 0):
        spool.admit(row("ends"))
        spool.admit(row("open"))
        spool.settle(settled("ends"))
        assert (spool.open_count, spool.lag, spool.unspooled) == (2, 1, 2)
    assert _ids(_taken(spool)) == ["ends"]
    spool.stored()
    spool.settle(settled("open"))  # there is room again: what is known by then is all of it
    del spool
    kill(tmp_path)
    assert _recovered(tmp_path) == {"before": "gateway_lost", "open": "completed"}


def test_memory_is_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MOST_HELD", 3)
    spool = Spool(tmp_path, "a", step_bytes=512, when_full="serve")
    spool.admit(row("before"))
    with room_for(tmp_path, 0):
        spool.admit(row("1"))
        spool.settle(settled("1"))
        spool.take()
        spool.admit(row("2"))
        with pytest.raises(LedgerFull):
            spool.admit(row("3"))
        spool.stored()
        spool.admit(row("3"))
    assert spool.unspooled == 3
    spool.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
@pytest.mark.parametrize("when_full", ["refuse", "serve"])
def test_a_file_system_without_room_damages_nothing(tmp_path: Path, when_full: Literal["refuse", "serve"]) -> None:
    """A real one, of 64 KiB, that others fill as well."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        spool = Spool(small, "a", step_bytes=8192, when_full=when_full)
        with suppress(OSError):
            (small / "others").write_bytes(bytes(1024 * 1024))
        names = [f"tg-{at}" for at in range(200)]
        admitted = [name for name in names if _admits(spool, name)]
        assert spool.unspooled == (0 if when_full == "refuse" else len(names) - len(_spooled(small)))
        for name in admitted[::2]:
            spool.settle(settled(name))
        taken = _ids(_taken(spool))
        assert taken == admitted[::2]
        (small / "others").unlink()
        for name in admitted[1::2]:
            spool.settle(settled(name))
        open_and_full = set(_spooled(small))
        del spool
        kill(small)
        recovered = _recovered(small)
        assert recovered.keys() | set(taken) == set(admitted)
        assert recovered.keys() == open_and_full
        assert {recovered[name] for name in admitted[1::2]} == {"completed"}
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def _admits(spool: Spool, name: str) -> bool:
    try:
        spool.admit(row(name))
    except LedgerFull:
        return False
    return True


def _spooled(folder: Path) -> list[str]:
    """The requests that a living owner's file knows of."""
    (path,) = folder.glob("*.jsonl")
    return sorted({msgspec.json.decode(line)["request_id"] for line in path.read_bytes().rstrip(b"\0").splitlines()})
