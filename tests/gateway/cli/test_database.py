"""`gateway database`: what it holds, bringing it up to date, letting old rows go."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.settings.gpu_price import GpuPrice
from gateway.stores.bundle import open_stores
from gateway.stores.database import LEDGER, METADATA
from gateway.stores.migrations.upgrading import HEAD
from tests.gateway.builders import settled
from tests.gateway.postgres import Postgres
from tests.gateway.stores.earlier import leave

SEPTEMBER = 1_788_220_800.0
URL = "sqlite:///tollgate.db"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*options: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["database", *options])
    assert result.exit_code == code, result.output
    return result


def _json(*options: str) -> Any:
    return json.loads(_run(*options, "--json").stdout)


def _rows() -> None:
    stores = open_stores(URL)
    stores.ledger.insert([settled(f"tg-{at}", started_at=SEPTEMBER - at) for at in (0, 1, 2)])
    with stores.database.begin() as connection:
        connection.execute(sa.update(LEDGER).values(allocated_at=1.0))
    stores.database.dispose()


def test_an_old_database_is_shown_as_it_is_and_then_brought_up_to_date(folder: Path) -> None:
    leave(URL)
    found = _json("show")
    assert (found["revision"], found["rows"]) == (None, {"keys": 1, "ledger": 1})
    assert found["bytes"] == (folder / "tollgate.db").stat().st_size
    assert _json("show") == found
    assert f"is at revision {HEAD}, it was at none" in _run("upgrade").output
    assert f"is at revision {HEAD} already" in _run("upgrade").output
    assert _json("show")["revision"] == HEAD


def test_every_table_is_shown_with_its_rows(folder: Path) -> None:
    _rows()
    assert _json("show")["rows"] == dict.fromkeys(METADATA.tables, 0) | {"ledger": 3}
    shown = _run("show").output
    assert f"revision: {HEAD} (this program's: {HEAD})" in shown
    assert "cost_lines" in shown


def test_postgresql_is_shown_as_well(folder: Path, postgres: Postgres) -> None:
    url = postgres.url()
    found = _json("show", "--database", url)
    assert (found["database"], found["revision"]) == (url, HEAD)
    assert found["bytes"] > 1_000_000


def test_pruning_says_what_it_would_do_and_does_it(folder: Path) -> None:
    _rows()
    expected = {"until": 496728, "held_by": None, "hours": 0, "months": 0, "rows": 2, "unbooked": False}
    assert _json("prune", "--before", "2026-09-20", "--dry-run") == expected | {"dry_run": True}
    assert "2 rows would be deleted" in _run("prune", "--before", "2026-09-20", "--dry-run").output
    assert _json("show")["rows"]["ledger"] == 3
    assert _json("prune", "--before", "2026-09-20") == expected | {"dry_run": False}
    shown = _run("prune", "--before", "2026-09-20").output
    assert "before 2026-09-01 00:00:00Z:" in shown
    assert "0 rows were deleted" in shown
    assert _json("show")["rows"]["ledger"] == 1


def test_what_holds_a_prune_back_is_told(folder: Path) -> None:
    open_stores(URL).ledger.insert([settled(started_at=SEPTEMBER - 1)])
    shown = _run("prune", "--before", "2026-10-01").output
    assert "a row of 2026-08-31 23:59:59Z is not allocated yet" in shown


def test_an_hour_that_was_paid_for_and_is_not_closed_holds_a_prune_back(folder: Path) -> None:
    open_stores(URL).rentals.declare("g", SEPTEMBER - 7200, {"r": ("p", GpuPrice(usd_per_gpu_hour=Decimal(2)))})
    shown = _run("prune", "--before", "2026-10-01").output
    assert "the hour of 2026-08-31 22:00:00Z was paid for, and is not closed yet" in shown


@pytest.mark.parametrize("command", [["show"], ["upgrade"], ["prune", "--before", "2026-01-01"]])
def test_a_database_that_is_not_there_is_not_made(folder: Path, command: list[str]) -> None:
    assert "no database" in _run(*command, code=1).output
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["show", "upgrade"])
def test_a_server_that_is_away_is_told(folder: Path, command: str) -> None:
    assert "cannot be opened" in _run(command, "--database", "postgresql://u@127.0.0.1:1/d", code=1).output


def test_the_future_is_not_pruned(folder: Path) -> None:
    _rows()
    assert "in the future" in _run("prune", "--before", "2999-01-01", code=2).output
