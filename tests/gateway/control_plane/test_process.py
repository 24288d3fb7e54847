"""What a process says of itself: its loop, its memory, and the age of what the database lacks."""

import math
import resource
from pathlib import Path

from gateway.control_plane.process import Process, owed, taken
from gateway.stores.spool import Spool
from gateway.telemetry import Telemetry
from tests.gateway import builders


def _value(telemetry: Telemetry, name: str) -> float | None:
    return telemetry.registry.get_sample_value(f"tollgate_{name}")


def _proc(folder: Path, pages: int, descriptors: int) -> Path:
    (folder / "statm").write_text(f"999 {pages} 1 1 0 1 0")
    (folder / "fd").mkdir()
    for number in range(descriptors):
        (folder / "fd" / str(number)).touch()
    return folder


def test_the_age_is_that_of_the_oldest_row_until_the_database_has_it(tmp_path: Path) -> None:
    spool, telemetry = Spool(tmp_path, "one"), Telemetry()
    for number in range(2):
        spool.admit(builders.row(f"tg-{number}", started_at=100.0 + number))
        spool.settle(builders.settled(f"tg-{number}", started_at=100.0 + number, duration_s=5.0))
    owed(spool, telemetry, 125.0)
    assert _value(telemetry, "ledger_lag_seconds") == 20.0
    assert _value(telemetry, "spool_bytes") == spool.size > 0
    spool.take()
    owed(spool, telemetry, 126.0)
    assert _value(telemetry, "ledger_lag_seconds") == 21.0, "what is on its way is not there yet"
    spool.stored()
    owed(spool, telemetry, 127.0)
    assert _value(telemetry, "ledger_lag_seconds") == 0.0
    spool.close()


def test_memory_and_descriptors_are_the_systems(tmp_path: Path) -> None:
    telemetry = Telemetry()
    taken(telemetry, _proc(tmp_path, pages=3, descriptors=2))
    assert _value(telemetry, "process_resident_bytes") == 3 * resource.getpagesize()
    assert _value(telemetry, "process_open_descriptors") == 2


def test_where_nobody_tells_there_is_no_number(tmp_path: Path) -> None:
    telemetry = Telemetry()
    taken(telemetry, tmp_path)
    for name in ("process_resident_bytes", "process_open_descriptors", "process_descriptors_used_ratio"):
        assert math.isnan(_value(telemetry, name) or 0.0)


async def test_a_look_counts_how_late_the_loop_is_and_what_it_took(tmp_path: Path) -> None:
    telemetry, spool = Telemetry(), Spool(tmp_path / "spool", "one")
    times, spent = iter([10.0, 10.3, 11.0, 11.05]), iter([2.0, 2.5])
    process = Process(spool, telemetry, lambda: 0.0, times.__next__, tmp_path, spent.__next__)
    await process.look()
    await process.look()
    assert _value(telemetry, "process_cpu_seconds_total") == 2.5
    assert _value(telemetry, "loop_late_seconds_count") == 2
    late = _value(telemetry, "loop_late_seconds_sum")
    assert late is not None
    assert abs(late - 0.25) < 1e-6
    spool.close()
