"""What a spool holds in memory: lines that are still needed, and the room for more."""

import mmap
from pathlib import Path

import pytest

from gateway.stores.spool import POPULATE_WRITE, Spool, decode, recover
from tests.gateway.builders import row, settled


def _resident_kb(path: Path) -> int:
    """Of the mapping of a file."""
    text = Path("/proc/self/smaps").read_text()
    mapping = text.partition(f" {path}\n")[2]
    return int(mapping.partition("\nRss:")[2].split()[0])


def _can_populate() -> bool:
    try:
        mmap.mmap(-1, mmap.PAGESIZE).madvise(POPULATE_WRITE)
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _can_populate(), reason="this kernel makes room page by page: it is older than 5.14")
def test_the_room_for_more_is_there_before_a_line_needs_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "lives", segment_bytes=96 * 1024, step_bytes=64 * 1024)
    (path,) = tmp_path.iterdir()
    assert _resident_kb(path) == 64
    while spool.size < 64 * 1024:
        spool.admit(row(f"tg-{spool.size}"))
    assert _resident_kb(path) == 128, "grown by a step, of which one line was written"
    spool.settle(settled("tg-0"))
    while spool.size < 96 * 1024:
        spool.admit(row(f"tg-{spool.size}"))
    list(spool.take())
    spool.stored()
    (path,) = tmp_path.iterdir()
    assert _resident_kb(path) >= 64, "another segment"
    spool.close()


def test_what_the_database_has_does_not_stay_in_memory_and_is_in_the_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "lives")
    for at in range(2000):
        spool.admit(row(f"tg-{at}"))
        spool.settle(settled(f"tg-{at}"))
    spool.admit(row("later"))
    (path,) = tmp_path.iterdir()
    lines_kb = spool.size // 1024
    assert len(list(spool.take())) == 2000
    spool.settle(settled("later"))
    before = _resident_kb(path)
    spool.stored()
    assert lines_kb > 1000
    assert _resident_kb(path) <= before - lines_kb + mmap.PAGESIZE // 1024, "the room for more may be there"
    assert [decode(line).request_id for line in spool.take()] == ["later"]
    spool.keep()
    spool.close()
    assert recover(tmp_path, lambda rows: None) == 2001
