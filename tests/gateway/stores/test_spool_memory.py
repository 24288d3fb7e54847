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
    step = 8 * 1024 * 1024  # a line that is written brings a large page of 2 MB with it at most
    spool = Spool(tmp_path, "lives", segment_bytes=step, step_bytes=step)
    (path,) = tmp_path.iterdir()
    assert _resident_kb(path) == step // 1024
    count = 0
    while spool.size < step:
        spool.admit(row(f"tg-{count}"))
        count += 1
    assert _resident_kb(path) == 2 * step // 1024, "grown by a step, of which one line was written"
    for at in range(count):
        spool.settle(settled(f"tg-{at}"))
    list(spool.take())
    spool.stored()
    (path,) = tmp_path.iterdir()
    assert (spool.size, _resident_kb(path)) == (0, step // 1024), "another segment"
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
