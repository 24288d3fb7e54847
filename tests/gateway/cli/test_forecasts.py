"""`gateway costs forecast`: rows that add up to the total, and what cannot be foreseen."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import cost_files, main
from gateway.cli.forecasts import forecasts, where_of
from gateway.contracts.errors import InputError
from gateway.stores.bundle import Stores, open_stores
from tests.gateway.builders import NOW, settled
from tests.gateway.costs_ledger import fill


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.chdir(tmp_path)
    return open_stores("sqlite:///tollgate.db")


def _ask(stores: Stores, by: tuple[str, ...] = ("team",), **where: str) -> cost_files.Asked:
    return cost_files.asked(stores, None, by, where, None, None, NOW)


@pytest.mark.parametrize("money", ["loaded", "allocated", "list"])
def test_teams_add_up_to_all(stores: Stores, money: str) -> None:
    fill(stores, NOW, 3)
    *rows, every = forecasts(_ask(stores), money)
    assert {row["method"] for row in rows} == {"run_rate"}
    assert sum((row["spent"] for row in rows), Decimal(0)) == every["spent"]
    assert abs(sum((row["expected"] for row in rows), Decimal(0)) - every["expected"]) < Decimal("1e-6")
    assert [row["expected"] for row in rows] == sorted((row["expected"] for row in rows), reverse=True)
    assert every["team"] == ""
    assert forecasts(_ask(stores, ()), money) == [{name: value for name, value in every.items() if name != "team"}]


def test_too_little_gives_no_forecast_and_says_why(stores: Stores) -> None:
    fill(stores, NOW, 1)
    *rows, every = forecasts(_ask(stores), "loaded")
    assert every["expected"] is None
    assert "a forecast needs 48" in every["reason"]
    assert all(row["method"] == "none" for row in rows)
    assert forecasts(_ask(stores, team="nobody"), "loaded")[-1]["reason"].startswith("0 hours")


@pytest.mark.parametrize("money", ["loaded", "allocated", "list"])
def test_what_has_no_price_is_unknown_and_no_zero(stores: Stores, money: str) -> None:
    at = [NOW - 3600 * hours for hours in range(1, 60)]
    stores.ledger.insert(
        [settled(f"{each}", cost=None, started_at=each, replica="main-0", dispatched_s=0.1) for each in at]
    )
    found = forecasts(_ask(stores), money)
    assert [row["team"] for row in found] == ["search", ""]
    assert [(row["spent"], row["expected"], row["method"]) for row in found] == [(None, None, "none")] * 2
    shown = CliRunner().invoke(main, ["costs", "forecast", "--money", money]).stdout
    assert "unknown" in shown
    assert "0.00" not in shown


def test_currencies_are_not_added_up(stores: Stores) -> None:
    stores.ledger.insert(
        [settled("a", cost="1", started_at=NOW - 10), settled("b", cost="1", currency="EUR", started_at=NOW - 9)]
    )
    with pytest.raises(InputError, match="EUR, USD"):
        forecasts(_ask(stores), "list")
    assert forecasts(_ask(stores, currency="EUR"), "list")


def test_nor_are_those_of_the_weeks_before(stores: Stores) -> None:
    before = [settled(f"{day}", cost="9", currency="EUR", started_at=NOW - 86_400 * day) for day in range(23, 40)]
    stores.ledger.insert([settled("now", cost="1", started_at=NOW - 10), *before])
    with pytest.raises(InputError, match="EUR, USD"):
        forecasts(_ask(stores), "list")
    assert forecasts(_ask(stores, currency="USD"), "list")[-1]["expected"] is None


@pytest.mark.parametrize("options", [("--by", "team,hour"), ("--by", "day"), ("--where", "month=2026-11")])
def test_a_part_of_time_has_no_forecast(stores: Stores, options: tuple[str, str]) -> None:
    stores.ledger.insert([settled("a", cost="1")])
    refused = CliRunner().invoke(main, ["costs", "forecast", *options])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "a forecast is of a whole month: leave out '" in refused.stderr


def test_the_command_has_three_forms_that_agree(stores: Stores) -> None:
    stores.ledger.insert([settled("a", team="[red]", cost="1")])
    found = json.loads(CliRunner().invoke(main, ["costs", "forecast", "--json", "--money", "list"]).stdout)
    assert found["level"] == "80 %"
    lines = list(
        csv.DictReader(
            io.StringIO(CliRunner().invoke(main, ["costs", "forecast", "--format", "csv", "--money", "list"]).stdout)
        )
    )
    assert lines[-1] == {name: "" if value is None else value for name, value in found["total"].items()}
    shown = CliRunner().invoke(main, ["costs", "forecast"])
    assert (shown.exit_code, "to the end of the month" in shown.stdout) == (0, True)


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (["team"], "expected NAME=VALUE"),
        (["=a"], "expected NAME=VALUE"),
        ([" =a"], "expected NAME=VALUE"),
        (["team=a", "team=b"], "'team' is 'a' and 'b', and no request is both"),
        (["day=2026-13-45"], "expected a time (UTC) such as day=2026-11-22, found '2026-13-45'"),
        (["month=2026-1"], "expected a time (UTC) such as month=2026-11, found '2026-1'"),
        (["hour=2026-11-22T09"], "expected a time (UTC) such as hour=2026-11-22T09:00Z, found '2026-11-22T09'"),
        (["team=\udcff"], r"expected printable characters after `team=`, found '\udcff'"),
    ],
)
def test_a_filter_that_says_nothing_or_two_things_is_a_usage_error(stores: Stores, pairs: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["costs", "forecast", *(part for pair in pairs for part in ("--where", pair))])
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_filter_that_is_repeated_is_one() -> None:
    assert where_of(("team=a", "team=a", "model==x")) == {"team": "a", "model": "=x"}


def test_a_time_is_one_that_reports_show() -> None:
    times = {"hour": "2024-02-29T23:00Z", "day": "2024-02-29", "month": "2024-02"}
    assert where_of(tuple(f"{name}={value}" for name, value in times.items())) == times
