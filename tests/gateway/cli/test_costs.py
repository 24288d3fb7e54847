"""`gateway costs`: the ledger's numbers, unrounded, in several forms that agree."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.contracts.ledger import LedgerRow
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.spool import Spool
from tests.gateway.builders import NOW, kill, row, settled


def asked(request_id: str, **changes: Any) -> LedgerRow:
    """A request on a replica that has no price."""
    return settled(request_id, **{"replica": "r1", "dispatched_s": 0.0, **changes})


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.chdir(tmp_path)
    made = open_stores("sqlite:///tollgate.db")
    made.ledger.insert(
        [
            asked("a", team="search", cost="0.000000001", started_at=NOW),
            asked("b", team="search", cost="1.5", cached_tokens=1, started_at=NOW + 86_400, tags='{"project": "faq"}'),
            asked("c", team="sales", started_at=NOW + 1),
            asked(
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
    search, sales = found["rows"]
    unknown_money = ("allocated", "provisional", "fully_loaded", "by_requests", "by_tokens", "by_weight")
    unknown_money += ("share", "share_min", "share_max")
    assert search == {
        "team": "search",
        "cost_centre": "serve",
        "requests": 2,
        "input_tokens": 6,
        "cached_tokens": 1,
        "output_tokens": 4,
        "reasoning_tokens": 0,
        "list_cost": "1.500000001",
        "currency": "USD",
        **dict.fromkeys(unknown_money),
        "unpriced": 0,
        "unmetered": 0,
        "cached_unknown": 1,
        "unallocated": 2,
    }
    assert (sales["list_cost"], sales["currency"], sales["unpriced"], sales["unmetered"]) == (None, None, 2, 1)
    totals = found["totals"]
    assert (totals["requests"], totals["list_cost"], totals["unpriced"], totals["allocated"]) == (
        4,
        "1.500000001",
        2,
        None,
    )
    assert found == json.loads(_run("costs", "--by", "team", "--format", "json").stdout)
    assert "of 4 requests, 2 have no list price" in found["notes"][-1]


@pytest.mark.usefixtures("stores")
def test_csv_says_the_same() -> None:
    lines = list(csv.DictReader(io.StringIO(_run("costs", "--by", "team,day", "--format", "csv").stdout)))
    asked = _json("costs", "--by", "team,day")["rows"]
    assert lines == [{name: "" if value is None else str(value) for name, value in each.items()} for each in asked]
    assert (lines[0]["day"], lines[0]["list_cost"]) == ("2026-11-23", "1.500000000")
    assert [line["list_cost"] for line in lines if line["team"] == "sales"] == [""]


@pytest.mark.usefixtures("stores")
def test_the_table_has_every_column_a_total_and_how_amounts_are_made() -> None:
    lines = _run("costs", "--by", "team").stdout.splitlines()
    words = (
        "team",
        "cost centre",
        "requests",
        "input tokens",
        "list",
        "allocated",
        "fully loaded",
        "share",
        "other methods",
    )
    assert all(word in lines[1] for word in (*words, "unpriced", "unmetered", "cached unknown", "unallocated"))
    assert any("sales" in line and "unpriced" in line and "unallocated" in line for line in lines)
    assert any("total" in line and "1.500000001" in line for line in lines)
    assert any(line.startswith("Amounts are exact.") for line in lines)
    methods = _run("costs", "--by", "team", "--methods").stdout.splitlines()[1]
    assert all(word in methods for word in ("allocated", "by requests", "by tokens", "by weighted tokens"))


@pytest.mark.usefixtures("stores")
def test_currencies_are_not_added_up(stores: Stores) -> None:
    stores.ledger.insert([asked("e", team="search", cost="1", currency="EUR")])
    found = _json("costs", "--by", "team")
    assert found["totals"]["list_cost"] is None
    assert any("several currencies" in note for note in found["notes"])
    lines = _run("costs", "--by", "team").stdout.splitlines()
    assert any("search" in line and "several currencies" in line for line in lines)
    assert _json("costs", "--by", "currency")["rows"][0]["list_cost"] == "1.500000001"


@pytest.mark.usefixtures("stores")
def test_rows_can_be_chosen_by_what_they_are() -> None:
    assert _json("costs", "--where", "team=search")["totals"]["requests"] == 2
    assert _json("costs", "--where", "tag:project=faq", "--by", "tag:project")["rows"][0]["tag:project"] == "faq"
    assert _json("costs", "--where", "team=a", "--where", "model=b")["rows"] == []


@pytest.mark.usefixtures("stores")
def test_days_cut_the_time() -> None:
    assert _json("costs", "--since", "2026-11-23")["totals"]["requests"] == 1
    assert _json("costs", "--until", "2026-11-23")["totals"]["requests"] == 3
    totals = _json("costs", "--since", "2026-11-24")["totals"]
    assert (totals["requests"], totals["list_cost"], totals["allocated"], totals["unpriced"]) == (0, "0", "0", 0)


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("choice", [("--since", "2027-01-01"), ("--where", "team=nobody")])
def test_an_empty_report_says_what_there_is(choice: tuple[str, str]) -> None:
    expected = "Nothing in the ledger is of this period and choice: it holds requests and GPU time of 2026-11 (UTC)."
    assert expected in _run("costs", *choice).stdout
    assert expected in _json("costs", *choice)["notes"]


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("command", [("costs",), ("costs", "reconcile"), ("costs", "--format", "focus")])
@pytest.mark.parametrize("until", ["2026-11-22", "2026-11-21"])
def test_a_period_without_a_day_is_refused(command: tuple[str, ...], until: str) -> None:
    refused = CliRunner().invoke(main, [*command, "--since", "2026-11-22", "--until", until])
    assert refused.exit_code == 1
    assert f"--since 2026-11-22 is not before --until {until}" in refused.stderr


@pytest.mark.usefixtures("stores")
def test_a_dimension_named_twice_is_one() -> None:
    once, twice = (_run("costs", "--by", by, "--json").stdout for by in ("team", "team,team"))
    assert twice == once


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(
    "options",
    [["--by", "nobody"], ["--by", ""], ["--by", "tag:"], ["--since", "soon"], ["--format", "xml"], ["--where", "team"]],
)
def test_what_costs_cannot_show_is_a_usage_error(options: list[str]) -> None:
    result = CliRunner().invoke(main, ["costs", *options])
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--format", "parquet"], "name it with --out FILE"),
        (["--format", "focus-list"], "name --prices FILE"),
        (["--format", "focus", "--where", "team=search"], "leave out --where"),
        (["--out", "no/such/folder"], "cannot be written"),
        (["--json", "--out", "no/such/folder"], "cannot be written"),
        (["--where", "nobody=1"], "cannot be grouped by 'nobody'"),
    ],
)
def test_what_cannot_be_written_is_one_clear_error(options: list[str], expected: str) -> None:
    result = CliRunner().invoke(main, ["costs", *options])
    assert result.exit_code == 1
    assert expected in result.stderr


@pytest.mark.usefixtures("stores")
def test_a_table_can_go_to_a_file(tmp_path: Path) -> None:
    assert _run("costs", "--by", "team", "--out", "costs.txt").stdout == ""
    assert (tmp_path / "costs.txt").read_text() == _run("costs", "--by", "team").stdout


def test_what_a_dead_gateway_left_is_counted(stores: Stores) -> None:
    Spool(stores.spool_folder, "dead").admit(row("lost"))
    kill(stores.spool_folder)
    assert "gateway_lost" in _run("costs", "--by", "outcome").stdout
    assert list(stores.spool_folder.iterdir()) == []


def test_an_empty_ledger_is_shown_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_stores("sqlite:///tollgate.db")
    assert _json("costs")["rows"] == []
    said = _run("costs").stdout
    assert "total" in said
    assert "The ledger is empty" in said
    for style in ("csv", "focus", "html"):
        assert _run("costs", "--format", style).stdout


@pytest.mark.parametrize("team", ["[red]", "[/x]", "a\nb", "é", "=1+1"])
def test_a_name_is_shown_as_it_is(stores: Stores, team: str) -> None:
    stores.ledger.insert([asked("named", team=team)])
    assert team.split("\n")[0] in _run("costs", "--by", "team").stdout
    assert team in {each["team"] for each in _json("costs", "--by", "team")["rows"]}


def test_names_that_a_spreadsheet_would_run_are_harmless_in_csv(stores: Stores) -> None:
    stores.ledger.insert([asked("named", team="=cmd|' /C calc'!A0")])
    teams = {
        each["team"] for each in csv.DictReader(io.StringIO(_run("costs", "--by", "team", "--format", "csv").stdout))
    }
    assert "'=cmd|' /C calc'!A0" in teams


def test_the_command_has_subcommands() -> None:
    assert all(name in _run("costs", "--help").stdout for name in ("forecast", "calibrate"))
    assert "Show what the month" in _run("costs", "forecast", "--help").stdout
