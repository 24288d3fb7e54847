"""`gateway costs reconcile`: what it holds against what, what it prints, and its exit codes."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from gateway.cli.reconcile import reconcile
from gateway.contracts.errors import InputError
from gateway.costs.reconcile import UNRECONCILED
from gateway.stores.bundle import open_stores
from gateway.stores.counters import Snapshot
from gateway.stores.database import COST_LINES, ENGINE_COUNTERS, LEDGER, REPLICA_HOURS, open_database
from gateway.stores.retention import fold
from tests.gateway.builders import settled, write_config

AS_BELOW_MAIN: Any = {"help_option_names": ["-h", "--help"]}
"""Of its context: commands keep the help option of whoever calls them first."""

NOON = 1_795_348_800.0
HOUR = 3600.0
DAY = ("--since", "2026-11-22", "--until", "2026-11-23")
Run = Callable[..., Result]


def booked(database: sa.Engine, replica: str, pool: str, nano: int, hour: int = int(NOON // HOUR)) -> None:
    """One closed hour."""
    zeros = dict.fromkeys(("paid_us", "busy_us", "allocated_nano", "overhead_nano", "requests"), 0)
    values = {"replica": replica, "hour": hour, "pool": pool, "cost_nano": nano, "idle_nano": nano, "revision": 1}
    with database.begin() as connection:
        connection.execute(REPLICA_HOURS.insert(), {**zeros, **values, "step_model": "x", "closed_at": NOON})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command on a ledger with two engines: one that agrees, and one whose counters say something else."""
    url = f"sqlite:///{tmp_path / 'tollgate.db'}"
    stores, database = open_stores(url), open_database(url)
    for replica in ("a-0", "b-0"):
        for at, prompt, output in ((NOON, 100, 10), (NOON + HOUR, 1100, 110)):
            stores.counters.add(Snapshot(replica, at, 1.0, prompt, None, output), 30.0)
    more = {"started_at": NOON + 60, "duration_s": 1.0, "dispatched_s": 0.0, "output_tokens": 100}
    stores.ledger.insert(
        [settled("1", replica="a-0", input_tokens=1000, **more), settled("2", replica="b-0", input_tokens=600, **more)]
    )
    booked(database, "a-0", "a", 60_000_000_001)
    booked(database, "b-0", "b", 40_000_000_000)

    def run(*options: str) -> Result:
        return CliRunner().invoke(reconcile, [*options, "--database", url], **AS_BELOW_MAIN)

    return run


def shown(run: Run, *options: str) -> tuple[int, Any]:
    result = run(*options, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_the_residual_is_a_row_of_its_own(run: Run) -> None:
    code, found = shown(run, *DAY, "--invoice", "101", "--pool", "a")
    assert code == 1
    assert found["money"]["rows"] == {"a": "60.000000001", UNRECONCILED: "40.999999999"}
    assert (found["money"]["share"], found["money"]["within"]) == ("0.4059", False)
    assert found["booked_until"] == "2026-11-22 13:00:00Z"
    assert {each["replica"] for each in found["tokens"]} == {"a-0"}


def test_within_the_tolerances_it_is_exit_code_0(run: Run) -> None:
    code, found = shown(run, *DAY, "--invoice", "60.05", "--pool", "a")
    assert (code, found["money"]["within"]) == (0, True)
    assert [each["verdict"] for each in found["tokens"]] == ["agrees", "agrees"]
    assert run(*DAY, "--invoice", "60.05", "--pool", "a", "--money-tolerance", "0").exit_code == 1
    assert run(*DAY, "--invoice", "100", "--tokens-tolerance", "0.4").exit_code == 0


def test_tokens_around_the_gateway_are_exit_code_1(run: Run) -> None:
    code, found = shown(run, *DAY, "--invoice", "100")
    assert (code, found["money"]["within"]) == (1, True)
    (around,) = (each for each in found["tokens"] if each["verdict"] == "around")
    assert (around["replica"], around["engine"], around["ledger_most"], around["gap"]) == ("b-0", 1000, 600, 400)
    table = run(*DAY, "--invoice", "100").stdout
    assert all(word in table for word in (UNRECONCILED, "invoice", "within the tolerance", "400 tokens went around"))


def test_books_that_reach_the_end_of_the_period_are_whole(run: Run, tmp_path: Path) -> None:
    assert (
        "booked until 2026-11-22 13:00:00Z: hours after that are not closed yet" in run(*DAY, "--invoice", "1").stdout
    )
    last = int(NOON // HOUR) + 11
    booked(open_database(f"sqlite:///{tmp_path / 'tollgate.db'}"), "a-0", "a", 5, hour=last)
    told = run(*DAY, "--invoice", "1").stdout
    assert "booked until 2026-11-23 00:00:00Z, the end of the period\n" in told
    assert "not closed yet" not in told


def test_without_an_invoice_tokens_alone_are_compared(run: Run) -> None:
    code, found = shown(run, *DAY, "--pool", "a")
    assert (code, found["money"]) == (0, None)
    assert UNRECONCILED not in run(*DAY, "--pool", "a").stdout


def test_a_period_without_anything_is_told_and_costs_nothing(run: Run) -> None:
    result = run("--since", "2026-12-01", "--until", "2026-12-02", "--invoice", "0")
    assert result.exit_code == 0
    assert "nothing was booked" in result.stdout
    assert "tokens are not compared" in result.stdout
    assert run("--since", "2026-12-01", "--until", "2026-12-02", "--invoice", "5").exit_code == 1


def test_what_cannot_be_compared_is_exit_code_3(run: Run, tmp_path: Path) -> None:
    stores = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    stores.counters.add(Snapshot("c-0", time.time(), 1.0, 5, None, 5), 30.0)
    code, found = shown(run, "--since", "2026-11-23")
    assert (code, {each["verdict"] for each in found["tokens"]}) == (3, {"unknown"})


def test_without_any_counters_nothing_was_compared(run: Run, tmp_path: Path) -> None:
    assert run("--since", "2026-12-01", "--until", "2026-12-02").exit_code == 3
    with open_database(f"sqlite:///{tmp_path / 'tollgate.db'}").begin() as connection:
        connection.execute(sa.delete(ENGINE_COUNTERS))
    result = run(*DAY, "--invoice", "100")
    assert (result.exit_code, "tokens are not compared" in result.stdout) == (3, True)
    assert run(*DAY, "--invoice", "120").exit_code == 1


def test_a_replica_without_a_price_is_of_no_pool(run: Run, tmp_path: Path) -> None:
    booked(open_database(f"sqlite:///{tmp_path / 'tollgate.db'}"), "c-0", "", 0)
    assert set(shown(run, *DAY, "--invoice", "100")[1]["money"]["rows"]) == {"a", "b", UNRECONCILED}
    assert "those with books are a, b" in str(run(*DAY, "--pool", "c").exception)


def test_a_pool_without_books_is_named(run: Run) -> None:
    result = run(*DAY, "--pool", "c")
    assert isinstance(result.exception, InputError)
    assert "'c'" in str(result.exception)
    assert "a, b" in str(result.exception)


@pytest.mark.parametrize("wrong", ["-1", "NaN", "Infinity", "a lot", "1e99", "-0", "1e-10", "1e-999999", ""])
@pytest.mark.parametrize("option", ["--invoice", "--money-tolerance", "--tokens-tolerance"])
def test_what_is_no_amount_is_a_usage_error(option: str, wrong: str, run: Run) -> None:
    result = run(f"{option}={wrong}")
    assert result.exit_code == 2
    assert "expected an amount" in result.stderr


def test_a_configuration_says_how_long_requests_last(tmp_path: Path) -> None:
    path = write_config(tmp_path, timeouts={"total": 60.0})
    stores, now = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}"), time.time()
    for before in (300.0, 120.0):
        stores.counters.add(Snapshot("main-0", now - before, 1.0, 7, None, 7), 30.0)
    result = CliRunner().invoke(reconcile, ["--config", str(path), "--json"], **AS_BELOW_MAIN)
    assert (result.exit_code, json.loads(result.stdout)["tokens"][0]["seconds"]) == (0, 180.0)


def test_of_months_whose_rows_are_gone_no_tokens_are_compared(run: Run, tmp_path: Path) -> None:
    fold(open_database(f"sqlite:///{tmp_path / 'tollgate.db'}"), int(NOON // HOUR) + 24 * 31)
    assert shown(run, *DAY)[1]["tokens"] != [], "nothing was allocated, so no row is gone"
    database = open_database(f"sqlite:///{tmp_path / 'tollgate.db'}")
    with database.begin() as connection:
        connection.execute(sa.update(LEDGER).values(allocated_at=NOON))
        keys = {column.name: "-" for column in COST_LINES.primary_key.columns}
        sums = {column.name: 1 for column in COST_LINES.columns if not column.primary_key}
        line = {**keys, **sums, "grain": "hour", "start": int(NOON // HOUR)}
        connection.execute(sa.insert(COST_LINES), line)
    fold(database, int(NOON // HOUR) + 24 * 31)
    assert shown(run, *DAY) == (3, {"booked_until": "2026-11-22 13:00:00Z", "money": None, "tokens": []})
