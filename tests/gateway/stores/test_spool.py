"""Law 1: every admitted request ends as exactly one row, whatever dies in between."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.contracts.errors import InputError, LedgerFull
from gateway.contracts.ledger import LedgerRow
from gateway.stores.spool import Spool, decode, recover
from tests.gateway.builders import kill, room_for, row, settled

ROOT = Path(__file__).resolve().parents[3]
DIES = """
import os, sys
from pathlib import Path
from gateway.stores.spool import Spool
from tests.gateway.builders import row, settled
spool = Spool(Path(sys.argv[1]), "dead")
spool.admit(row("open"))
spool.admit(row("done"))
spool.settle(settled("done"))
os._exit(9)
"""


def _recovered(folder: Path) -> dict[str, str]:
    """Request id to outcome of what is left; every id once."""
    rows: list[LedgerRow] = []
    assert recover(folder, rows.extend) == len(rows)
    assert len({each.request_id for each in rows}) == len(rows)
    return {each.request_id: each.outcome for each in rows}


def _written(path: Path) -> bytes:
    """What a living owner has written of its file, without the room that it keeps."""
    return path.read_bytes().rstrip(b"\0")


def _taken(spool: Spool) -> list[LedgerRow]:
    return [decode(line) for line in spool.take()]


def _ids(rows: Sequence[LedgerRow]) -> list[str]:
    return [each.request_id for each in rows]


def _refuse(_rows: Sequence[LedgerRow]) -> None:
    raise OSError("the database is away")


def test_a_killed_process_leaves_its_rows_to_the_next(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], cwd=ROOT, check=False)
    assert died.returncode == 9
    assert _recovered(tmp_path) == {"open": "gateway_lost", "done": "completed"}
    assert list(tmp_path.iterdir()) == []


def test_a_settled_row_is_taken_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.admit(row())
    assert (spool.open_count, spool.lag, _taken(spool)) == (1, 0, [])
    spool.settle(settled())
    spool.settle(settled(outcome="client_closed"))
    assert (spool.open_count, spool.lag) == (0, 1)
    assert _taken(spool) == [settled()]
    assert _taken(spool) == []
    spool.stored()
    assert _taken(spool) == []
    spool.close()


def test_what_was_never_admitted_is_not_settled(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.settle(settled())
    assert _taken(spool) == []
    spool.close()


def test_rows_given_back_come_first_and_none_is_lost(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    for name in ("1", "2", "3"):
        spool.admit(row(name))
    spool.settle(settled("1"))
    spool.take()
    spool.settle(settled("2"))
    spool.keep()
    spool.settle(settled("3"))
    assert _ids(_taken(spool)) == ["1", "2", "3"]
    spool.stored()
    spool.close()


def test_a_clean_end_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new" / "folder", "a")
    spool.admit(row())
    spool.settle(settled())
    spool.take()
    spool.stored()
    spool.close()
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_close_with_open_settled_or_taken_rows_leaves_the_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "open")
    spool.admit(row("open"))
    spool.close()
    for name in ("settled", "taken"):
        spool = Spool(tmp_path, name)
        spool.admit(row(name))
        spool.settle(settled(name))
        if name == "taken":
            spool.take()
        spool.close()
    assert _recovered(tmp_path) == {"open": "gateway_lost", "settled": "completed", "taken": "completed"}


def test_a_torn_last_line_was_never_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.admit(row("whole"))
    spool.admit(row("torn"))
    (path,) = tmp_path.iterdir()
    whole = _written(path)
    del spool
    kill(tmp_path)
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:cut])
        assert _recovered(tmp_path) == {"whole": "gateway_lost"}


def test_a_torn_settlement_leaves_the_admission(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.admit(row())
    spool.settle(settled())
    (path,) = tmp_path.iterdir()
    del spool
    kill(tmp_path)
    path.write_bytes(_written(path)[:-1])
    assert _recovered(tmp_path) == {"tg-1": "gateway_lost"}


def test_a_damaged_line_is_named_and_can_be_repaired(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.admit(row())
    (path,) = tmp_path.iterdir()
    del spool
    kill(tmp_path)
    good = _written(path)
    path.write_bytes(good + b"\x00\xff not a row\n")
    with pytest.raises(InputError, match="line 2 is damaged"):
        recover(tmp_path, _refuse)
    path.write_bytes(good)
    assert _recovered(tmp_path) == {"tg-1": "gateway_lost"}


@pytest.mark.parametrize("told", [{"decision": msgspec.Raw(b'{"config":"abc"}')}, {"team": "abc"}], ids=["raw", "text"])
def test_a_line_that_is_no_text_any_more_is_named_wherever_it_is_not(tmp_path: Path, told: dict[str, Any]) -> None:
    line = msgspec.json.encode(settled(**told)).replace(b"abc", b"a\xffc")
    (tmp_path / "a-000000.jsonl").write_bytes(line + b"\n")
    with pytest.raises(InputError, match="line 1 is damaged"):
        recover(tmp_path, _refuse)


def test_a_living_owners_segment_is_left_alone(tmp_path: Path) -> None:
    Spool(tmp_path, "dead").admit(row("dead"))
    kill(tmp_path)
    living = Spool(tmp_path, "living")
    living.admit(row("living"))
    assert _recovered(tmp_path) == {"dead": "gateway_lost"}
    living.settle(settled("living"))
    assert _ids(_taken(living)) == ["living"]
    living.stored()
    living.close()


def test_a_sink_that_fails_loses_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.admit(row())
    del spool
    kill(tmp_path)
    with pytest.raises(OSError, match="away"):
        recover(tmp_path, _refuse)
    assert _recovered(tmp_path) == {"tg-1": "gateway_lost"}


def test_two_that_recover_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Spool(tmp_path, name).admit(row(name))
    kill(tmp_path)
    mine: list[LedgerRow] = []
    theirs: list[LedgerRow] = []

    def sink(rows: Sequence[LedgerRow]) -> None:
        mine.extend(rows)
        recover(tmp_path, theirs.extend)

    assert recover(tmp_path, sink) == 1
    assert (_ids(mine), _ids(theirs)) == (["a"], ["b"])


def test_a_folder_that_is_missing_has_nothing_to_recover(tmp_path: Path) -> None:
    assert recover(tmp_path / "nowhere", _refuse) == 0


def test_rotation_keeps_open_rows_and_drops_stored_ones(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a", segment_bytes=1)
    spool.admit(row("open"))
    spool.admit(row("done"))
    (first,) = tmp_path.iterdir()
    spool.settle(settled("done"))
    spool.take()
    assert list(tmp_path.iterdir()) == [first]
    spool.stored()
    (second,) = tmp_path.iterdir()
    assert first != second
    spool.settle(settled("open"))
    spool.take()
    del spool
    kill(tmp_path)
    assert _recovered(tmp_path) == {"open": "completed"}


def test_a_file_under_steady_load_does_not_grow_without_end(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a", segment_bytes=1000, step_bytes=500)
    for number in range(50):
        spool.admit(row(f"tg-{number}"))
        spool.settle(settled(f"tg-{number}"))
        spool.take()
        spool.admit(row(f"late-{number}"))
        spool.settle(settled(f"late-{number}"))
        spool.stored()
        (path,) = tmp_path.iterdir()
        assert path.stat().st_size < 5000
    del spool
    kill(tmp_path)
    assert _recovered(tmp_path)["late-49"] == "completed"


def test_room_is_kept_and_given_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a", step_bytes=4096)
    (path,) = tmp_path.iterdir()
    spool.admit(row())
    assert path.stat().st_size == 4096
    spool.admit(msgspec.structs.replace(row("long"), replica="r" * 9000))
    assert path.stat().st_size > 9000
    spool.close()
    assert path.read_bytes().endswith(b"}\n")
    assert _recovered(tmp_path) == {"tg-1": "gateway_lost", "long": "gateway_lost"}


def test_a_settlement_that_a_full_disk_refuses_is_still_stored(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a", step_bytes=512)
    spool.admit(row())
    with room_for(tmp_path, 0), suppress(OSError):
        spool.settle(settled())
    rows = _taken(spool)
    spool.close()
    recover(tmp_path, rows.extend)
    assert set(_ids(rows)) == {"tg-1"}


@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_does_not_damage_what_is_written_after_it(tmp_path: Path, room: int) -> None:
    spool = Spool(tmp_path, "a", step_bytes=512)
    spool.admit(row("before"))
    with room_for(tmp_path, room), pytest.raises(LedgerFull):
        spool.admit(row("refused"))
    assert spool.open_count == 1
    spool.admit(row("after"))
    del spool
    kill(tmp_path)
    assert _recovered(tmp_path).items() >= {"before": "gateway_lost", "after": "gateway_lost"}.items()


def test_a_full_disk_at_the_start_leaves_no_file(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    with room_for(tmp_path, 100), pytest.raises(OSError):
        Spool(tmp_path / "new", "a")
    assert list((tmp_path / "new").iterdir()) == []
