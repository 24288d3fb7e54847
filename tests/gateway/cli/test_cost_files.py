"""The files of `gateway costs`, of a ledger whose hours are closed: all of them have the same money, to the nano."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import cost_files, main
from gateway.cli.cost_files import Asked
from gateway.contracts.errors import InputError
from gateway.costs import closing, forecast
from gateway.settings.gpu_price import GpuPrice
from gateway.stores import retention
from gateway.stores.bundle import Stores, open_stores
from tests.gateway.builders import NOW, settled, write_config
from tests.gateway.costs_ledger import POOLS, PRICES, fill

AT = NOW + 1234.5
DAYS = 3
OCTOBER = 1791676800.0
"""11 October 2026."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    made = open_stores(f"sqlite:///{tmp_path_factory.mktemp('costs') / 'tollgate.db'}")
    fill(made, AT, DAYS)
    return made


@pytest.fixture
def ask(stores: Stores) -> Asked:
    return cost_files.asked(stores, None, ("team",), {}, None, None, AT)


def _csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def _paid() -> Decimal:
    """Of the whole time until now: what left the account."""
    hours = Decimal(str(AT - (NOW // 3600 * 3600 - DAYS * 86_400))) / 3600
    return sum((gpus * Decimal(price) * hours for _, gpus, price in POOLS.values()), Decimal(0))


def test_all_money_that_was_paid_is_in_the_report_and_what_is_open_is_marked(ask: Asked) -> None:
    found = ask.report()
    total = found.total.line
    assert abs(total.allocated - _paid()) < Decimal("1e-6")
    assert total.allocated == total.loaded
    assert 0 < found.total.provisional < Decimal(20)
    assert sum((row.line.allocated for row in found.rows), Decimal(0)) == total.allocated
    assert {row.centre for row in found.rows} == {"serve", "quality", "idle", "overhead"}
    assert all(row.spread is not None and row.spread[0] < row.spread[1] for row in found.rows if row.centre == "serve")


def test_formats_agree_to_the_nano(ask: Asked, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    for name, write in (
        ("csv", cost_files.write_csv),
        ("json", cost_files.write_json),
        ("parquet", cost_files.write_parquet),
    ):
        write(ask, tmp_path / name)
    rows = [row.values() for row in ask.report().rows]
    from_json = json.loads((tmp_path / "json").read_text())["rows"]
    from_csv = _csv((tmp_path / "csv").read_text())
    from_parquet = pq.read_table(tmp_path / "parquet").to_pylist()
    assert from_parquet == rows
    for column in ("allocated", "fully_loaded", "list_cost", "by_tokens"):
        exact = [row[column] for row in rows]
        assert [None if row[column] is None else Decimal(row[column]) for row in from_json] == exact
        assert [Decimal(row[column]) if row[column] else None for row in from_csv] == exact


def test_focus_has_what_closed_hours_cost_and_the_page_what_the_report_has(
    ask: Asked, stores: Stores, tmp_path: Path
) -> None:
    cost_files.write_focus(
        ask._replace(by=("tag:project",)), tmp_path / "focus.csv", cost_files.focus.Names("acme", "GPUs Inc")
    )
    rows = _csv((tmp_path / "focus.csv").read_text())
    assert sum(Decimal(row["BilledCost"]) for row in rows) == sum(hour.cost for hour in stores.costs.hours())
    assert {row["BillingAccountId"] for row in rows} == {"acme"}
    assert {json.loads(row["AllocatedTags"]).get("project") for row in rows if row["AllocatedTags"]} == {
        "faq",
        "chat",
        None,
    }
    idle = [row for row in rows if row["x_CostCentre"] == "idle"]
    assert idle
    assert all(row["AllocatedResourceId"] == "" and row["AllocatedMethodId"] for row in idle)
    cost_files.write_page(ask, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f'title="{ask.report().total.line.allocated:,f}"' in page
    assert "is provisional: its hours are not closed yet" in page
    assert "Expected at the end" in page


def test_a_file_without_a_row_says_why_beside_it(
    ask: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow.parquet")
    nobody, open_hour = ask._replace(where={"team": "nobody"}), ask._replace(since=AT)
    for write in (cost_files.write_csv, cost_files.write_parquet):
        write(nobody, tmp_path / "costs")
        assert "Nothing in the ledger is of this period and choice: it holds" in capsys.readouterr().err
    cost_files.write_focus(open_hour, tmp_path / "costs", cost_files.focus.Names())
    assert "no hour of this period is closed" in capsys.readouterr().err
    cost_files.write_csv(ask, None)
    assert capsys.readouterr().err == ""


def test_of_months_that_were_put_together_no_part_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    made.rentals.declare("gateway-1", OCTOBER, {"chat-1": ("chat", GpuPrice(usd_per_gpu_hour=Decimal(2)))})
    made.ledger.insert([settled("tg-1", started_at=OCTOBER + 9, cost="1", replica="chat-1")])
    made.rentals.declare("gateway-1", OCTOBER + 7200, {})
    closing.close(made, NOW)
    retention.fold(made.database, int(NOW // 3600))
    whole = cost_files.asked(made, None, ("team",), {}, OCTOBER - 10 * 86_400, None, NOW)
    for write in (
        lambda ask: cost_files.write_focus(ask, None, cost_files.focus.Names()),
        lambda ask: cost_files.write_focus_list(ask, None, cost_files.focus.Names(), PRICES),
    ):
        with pytest.raises(InputError, match=r"put together into months: --since 2026-11-01"):
            write(whole)
        write(whole._replace(since=OCTOBER + 21 * 86_400))
    capsys.readouterr()
    cost_files.write_csv(whole, None)
    assert capsys.readouterr().err == ""
    cost_files.write_csv(whole._replace(since=OCTOBER), None)
    assert "each counts whole, on its first day, and 2026-10-11 lies within one" in capsys.readouterr().err


def test_list_prices_add_up_to_the_ledger(ask: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cost_files.write_focus_list(ask, tmp_path / "list.csv", cost_files.focus.Names(), PRICES)
    rows = _csv((tmp_path / "list.csv").read_text())
    assert sum(Decimal(row["BilledCost"]) for row in rows) == ask.report().total.line.list_cost
    assert {row["SkuMeter"] for row in rows} == {"Input Tokens", "Cached Input Tokens", "Output Tokens"}
    assert "requests are left out" in capsys.readouterr().err


def test_hours_of_the_past_are_those_before_the_present_one(ask: Asked) -> None:
    found = cost_files.hourly(ask, ("team",), "allocated")
    every = cost_files.hourly(ask, (), "allocated")[()]
    assert cost_files.observed(every, AT) == (int(AT // 3600) - 24 * DAYS, int(AT // 3600))
    assert cost_files.observed({}, AT) == (int(AT // 3600),) * 2
    for hour, amount in every.items():
        assert sum((each.get(hour, Decimal(0)) for each in found.values()), Decimal(0)) == amount
    assert isinstance(
        forecast.month_end(every, cost_files.observed(every, AT), forecast.month_of(AT)), forecast.Forecast
    )


def test_a_period_that_is_over_is_cut_at_its_days(ask: Asked, tmp_path: Path) -> None:
    cut = ask._replace(since=NOW // 86_400 * 86_400 - 86_400, until=NOW // 86_400 * 86_400)
    cost_files.write_page(cut, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "21 November 2026 (days end" in page
    assert "provisional" not in page


def test_only_with_a_configuration_are_hours_closed(tmp_path: Path) -> None:
    made = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    fill(made, NOW - 86_400, 1)
    before = len(made.costs.hours())
    config = write_config(tmp_path)
    without = cost_files.asked(made, None, (), {}, None, None, NOW).report().total
    assert len(made.costs.hours()) == before
    with_one = cost_files.asked(made, config, (), {}, None, None, NOW).report().total
    assert len(made.costs.hours()) > before
    assert with_one.line.allocated == without.line.allocated
    assert 0 < with_one.provisional < without.provisional


def test_the_commands_write_these_files(stores: Stores, tmp_path: Path) -> None:
    prices: dict[str, Any] = {"version": "1", "models": {"support": {"input": "0.2", "output": "0.6"}}}
    (tmp_path / "prices.yaml").write_text(json.dumps(prices))
    database = f"sqlite:///{stores.spool_folder.with_suffix('')}"
    for style, head in (
        ("html", "<!doctype html>"),
        ("focus", "AllocatedMethodDetails,"),
        ("focus-list", "BilledCost,"),
    ):
        out = tmp_path / style
        options = [
            "--database",
            database,
            "--format",
            style,
            "--out",
            str(out),
            "--prices",
            str(tmp_path / "prices.yaml"),
        ]
        result = CliRunner().invoke(main, ["costs", *options])
        assert (result.exit_code, result.stdout) == (0, ""), result.output
        assert out.read_text().startswith(head)


def test_hours_are_those_of_closing(stores: Stores) -> None:
    assert closing.close(stores, AT) == []
