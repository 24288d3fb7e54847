"""What a spool holds in memory: lines that are still needed, and the room for more."""

import mmap
from pathlib import Path

from gateway.stores.spool import Spool, decode, recover
from tests.gateway.builders import row, settled


def _resident_kb(path: Path) -> int:
    """Of the mapping of a file."""
    text = Path("/proc/self/smaps").read_text()
    mapping = text.partition(f" {path}\n")[2]
    return int(mapping.partition("\nRss:")[2].split()[0])


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
