"""`gateway ledger`: the latest requests, the unknown said to be unknown."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.database import LEDGER
from gateway.stores.spool import Spool
from tests.gateway.builders import NOW, kill, row, settled


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.chdir(tmp_path)
    return open_stores("sqlite:///tollgate.db")


def _run(*options: str) -> Result:
    result = CliRunner().invoke(main, ["ledger", *options])
    assert result.exit_code == 0, result.output
    return result


def _json(*options: str) -> Any:
    return json.loads(_run(*options, "--json").stdout)


def test_the_newest_comes_first(stores: Stores) -> None:
    stores.ledger.insert([settled(f"tg-{at}", started_at=NOW + at) for at in range(30)])
    assert [each["request_id"] for each in _json()] == [f"tg-{at}" for at in range(29, 9, -1)]
    assert [each["request_id"] for each in _json("--last", "2")] == ["tg-29", "tg-28"]


def test_a_row_is_shown_with_every_field(stores: Stores) -> None:
    stores.ledger.insert([settled(cost="1.5", replica="r1", duration_s=0.25)])
    (found,) = _json()
    expected = {name: getattr(settled(), name) for name in settled().__struct_fields__ if name != "decision"}
    assert found.pop("gpu_cost") is found.pop("gpu_method") is found.pop("allocated_at") is None
    assert found == {**expected, "cost": "1.500000000", "replica": "r1", "duration_s": 0.25}


def test_every_amount_of_a_row_is_text(stores: Stores) -> None:
    stores.ledger.insert([settled(cost="0.000000001", gpu_estimate="0.25")])
    with stores.database.begin() as connection:
        connection.execute(sa.update(LEDGER).values(gpu_nano=1, gpu_method="timed", allocated_at=NOW))
    (found,) = _json()
    assert [found[name] for name in ("cost", "gpu_estimate", "gpu_cost")] == [
        "0.000000001",
        "0.250000000",
        "0.000000001",
    ]


def test_the_table_does_not_show_the_unknown_as_zero(stores: Stores) -> None:
    stores.ledger.insert(
        [settled("none", input_tokens=None, output_tokens=None), settled("zero", output_tokens=0, cached_tokens=0)]
    )
    lines = {line.split()[2]: line for line in _run().stdout.splitlines() if "2026-11-22 12:00:00Z" in line}
    assert [lines["none"].count(word) for word in ("unknown", "unpriced")] == [3, 1]
    assert "unknown" not in lines["zero"]


@pytest.mark.parametrize("team", ["[red]", "[/x]"])
def test_a_name_is_shown_as_it_is(stores: Stores, team: str) -> None:
    stores.ledger.insert([settled("named", team=team)])
    assert team in _run().stdout


def test_what_a_dead_gateway_left_is_shown(stores: Stores) -> None:
    Spool(stores.spool_folder, "dead").admit(row("lost"))
    kill(stores.spool_folder)
    assert [(each["request_id"], each["outcome"]) for each in _json()] == [("lost", "gateway_lost")]


@pytest.mark.usefixtures("stores")
def test_an_empty_ledger_is_shown_empty() -> None:
    assert _json() == []
    _run()


@pytest.mark.parametrize("last", ["0", "-1", "10001", "all"])
def test_what_is_no_count_is_a_usage_error(last: str) -> None:
    assert CliRunner().invoke(main, ["ledger", "--last", last]).exit_code == 2
