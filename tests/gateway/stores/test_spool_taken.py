"""Lines that were taken are read later, in another thread, while the spool goes on."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.stores.spool import Spool, decode
from tests.gateway.builders import row, settled


def _ids(lines: Iterable[bytes]) -> list[str]:
    return [decode(line).request_id for line in lines]


def test_lines_that_were_taken_are_read_while_the_file_grows(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a", step_bytes=4096)
    for number in range(20):
        spool.admit(row(str(number)))
        spool.settle(settled(str(number)))
    lines, size = spool.take(), spool.size
    first = next(lines)
    for number in range(20, 60):
        spool.admit(row(str(number)))
    assert spool.size > size + 4096
    with ThreadPoolExecutor() as threads:
        others = threads.submit(list, lines).result()
    assert _ids([first, *others]) == [str(number) for number in range(20)]
    spool.stored()
    spool.close()


def test_whoever_reads_on_after_the_file_was_left_behind_gets_no_line_of_the_next(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a", segment_bytes=1)
    for name in ("settled", "open"):
        spool.admit(row(name))
    spool.settle(settled("settled"))
    late = spool.take()  # of a drain that was cancelled, and whose thread has not begun
    spool.keep()
    assert _ids(spool.take()) == ["settled"]
    spool.stored()
    assert spool.open_count == 1, "its line is in the next file"
    with pytest.raises(ValueError, match="closed"):
        next(late)
    spool.close()
