"""`gateway costs`: the ledger's numbers, unrounded, in three forms."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.spool import Spool
from tests.gateway.builders import NOW, kill, row, settled


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.chdir(tmp_path)
    made = open_stores("sqlite:///tollgate.db")
    made.ledger.insert(
        [
            settled("a", team="search", cost="0.000000001", started_at=NOW),
            settled("b", team="search", cost="1.5", cached_tokens=1, started_at=NOW + 86_400),
            settled("c", team="sales", started_at=NOW + 1),
            settled(
                "d", team="sales", input_tokens=None, output_tokens=None, outcome="client_closed", started_at=NOW + 2
            ),
        ]
    )
    return made


def _run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result


def _json(*arguments: str) -> Any:
    return json.loads(_run(*arguments, "--json").stdout)


@pytest.mark.usefixtures("stores")
def test_costs_are_exact_and_unknown_is_not_zero() -> None:
    found = _json("costs", "--by", "team")
    assert found["rows"] == [
        {
            "team": "search",
            "requests": 2,
            "input_tokens": 6,
            "cached_tokens": 1,
            "output_tokens": 4,
            "cost": "1.500000001",
            "currency": "USD",
            "unpriced": 0,
            "unmetered": 0,
            "cached_unknown": 1,
        },
        {
            "team": "sales",
            "requests": 2,
            "input_tokens": 3,
            "cached_tokens": 0,
            "output_tokens": 2,
            "cost": None,
            "currency": None,
            "unpriced": 2,
            "unmetered": 1,
            "cached_unknown": 2,
        },
    ]
    assert (found["totals"]["requests"], found["totals"]["cost"], found["totals"]["unpriced"]) == (4, "1.500000001", 2)
    assert found == json.loads(_run("costs", "--by", "team", "--format", "json").stdout)


@pytest.mark.usefixtures("stores")
def test_csv_says_the_same() -> None:
    lines = list(csv.DictReader(io.StringIO(_run("costs", "--by", "team,day", "--format", "csv").stdout)))
    assert lines[0] == {
        "team": "search",
        "day": "2026-11-23",
        "requests": "1",
        "input_tokens": "3",
        "cached_tokens": "1",
        "output_tokens": "2",
        "cost": "1.500000000",
        "currency": "USD",
        "unpriced": "0",
        "unmetered": "0",
        "cached_unknown": "0",
    }
    assert [line["cost"] for line in lines if line["team"] == "sales"] == [""]


@pytest.mark.usefixtures("stores")
def test_the_table_has_every_column_and_a_total() -> None:
    lines = _run("costs", "--by", "team").stdout.splitlines()
    assert all(word in lines[1] for word in ("team", "requests", "input tokens", "cost", "unpriced", "unmetered"))
    assert any("sales" in line and "unpriced" in line and "unknown" in line for line in lines)
    assert any("total" in line and "1.500000001" in line for line in lines)


@pytest.mark.usefixtures("stores")
def test_days_cut_the_time() -> None:
    assert _json("costs", "--since", "2026-11-23")["totals"]["requests"] == 1
    assert _json("costs", "--until", "2026-11-23")["totals"]["requests"] == 3
    assert _json("costs", "--since", "2026-11-24")["totals"] == {
        "requests": 0,
        "input_tokens": 0,
        "cached_tokens": 0,
        "output_tokens": 0,
        "cost": "0",
        "currency": None,
        "unpriced": 0,
        "unmetered": 0,
        "cached_unknown": 0,
    }


@pytest.mark.usefixtures("stores")
def test_a_dimension_named_twice_is_one_or_none() -> None:
    once, twice = (CliRunner().invoke(main, ["costs", "--by", by]) for by in ("team", "team,team"))
    assert twice.exit_code == 2 or twice.stdout == once.stdout


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("options", [["--by", "nobody"], ["--by", ""], ["--since", "soon"], ["--format", "xml"]])
def test_what_costs_cannot_show_is_a_usage_error(options: list[str]) -> None:
    result = CliRunner().invoke(main, ["costs", *options])
    assert (result.exit_code, result.stdout) == (2, "")


def test_what_a_dead_gateway_left_is_counted(stores: Stores) -> None:
    Spool(stores.spool_folder, "dead").admit(row("lost"))
    kill(stores.spool_folder)
    assert "gateway_lost" in _run("costs", "--by", "outcome").stdout
    assert list(stores.spool_folder.iterdir()) == []


def test_an_empty_ledger_is_shown_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_stores("sqlite:///tollgate.db")
    assert _json("costs")["rows"] == []
    assert "total" in _run("costs").stdout


@pytest.mark.parametrize("team", ["[red]", "[/x]", "a\nb", "é"])
def test_a_name_is_shown_as_it_is(stores: Stores, team: str) -> None:
    stores.ledger.insert([settled("named", team=team)])
    assert team.split("\n")[0] in _run("costs", "--by", "team").stdout
