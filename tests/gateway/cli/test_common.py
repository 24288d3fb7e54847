"""What every command keeps: an example in its help, errors as one message, times in UTC."""

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import click
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from gateway.cli import main
from gateway.cli.common import Amount, Day, check_period, moment, stores_of
from gateway.stores.bundle import open_stores
from tests.gateway.builders import NOW, settled, write_config
from tests.gateway.postgres import STANDBY, Postgres
from tests.gateway.process import MAIN


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


COMMANDS = dict(_commands(main))


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=" ".join)
def test_help_shows_how_to_use_it(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.stdout or "Examples:" in result.stdout
    assert f"gateway {' '.join(path)}" in result.stdout.partition("Example")[2]
    assert CliRunner().invoke(main, [*path, "-h"]).stdout == result.stdout


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    options = [option for option in COMMANDS[path].params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help and option.name not in ("style",)] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_unknown_option_is_a_usage_error(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--nonsense"])
    assert result.exit_code == 2
    assert "--nonsense" in result.stderr


FAILS = [
    ["check", "missing.yaml"],
    ["keys", "create", "--config", "missing.yaml"],
    ["keys", "list", "--database", "postgresql://h/d"],
    ["keys", "revoke", "ffffffffffff"],
    ["costs", "--database", "sqlite:///missing/folder/t.db"],
    ["ledger", "--database", "nonsense"],
    ["releases", "list", "--config", "missing.yaml"],
    ["releases", "promote", "faq@9", "--config", "missing.yaml"],
    ["serve", "--config", "missing.yaml"],
]


@pytest.mark.parametrize("arguments", FAILS, ids=" ".join)
def test_an_error_is_one_message_and_exit_code_1(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_every_command_is_listed() -> None:
    shown = " ".join(CliRunner().invoke(main, ["--help"]).stdout.partition("Commands:")[2].split())
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        assert name in shown
    assert CliRunner().invoke(main, ["nothing"]).exit_code == 2


def test_the_version_is_shown() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout.startswith("gateway, version ")


def test_a_day_begins_at_midnight_utc() -> None:
    assert Day().convert("2026-11-22", None, None) == NOW - 12 * 3600
    assert Day().convert(5.0, None, None) == 5.0


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-02-30", "22-11-2026", "2026-11-22T00:00", "0001-01-01", "1969-12-31"]
)
def test_what_is_no_day_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter, match="2026-11-22"):
        Day().convert(text, None, None)


def test_moments_are_utc() -> None:
    assert moment(NOW) == "2026-11-22 12:00:00Z"
    assert moment(None) == ""


def test_the_database_is_the_one_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path, database=f"sqlite:///{tmp_path / 'config.db'}")
    option = f"sqlite:///{tmp_path / 'option.db'}"
    assert stores_of(config, option, create=True).spool_folder == tmp_path / "option.db.spool"
    assert stores_of(config, None, create=True).spool_folder == tmp_path / "config.db.spool"
    assert stores_of(None, None, create=True).spool_folder.resolve() == tmp_path / "tollgate.db.spool"
    assert stores_of(None, None).spool_folder.resolve() == tmp_path / "tollgate.db.spool"


def test_a_folder_without_a_ledger_is_told_from_an_empty_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("costs", "ledger"):
        result = CliRunner().invoke(main, [command])
        assert (result.exit_code, result.stdout) == (1, "")
        assert "tollgate.db" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["0", "2.50", "0.000000001", "1e15", "123456789012345.123456789", Decimal("0.001")])
def test_an_amount_stays_as_it_was_written(given: str | Decimal) -> None:
    assert str(Amount().convert(given, None, None)) == str(Decimal(given))


@pytest.mark.parametrize("given", ["-1", "-0", "nan", "inf", "cheap", "1.0000000001", "1e-999999", "1e999999", "100.1"])
def test_what_no_invoice_and_no_price_says_is_no_amount(given: str) -> None:
    with pytest.raises(click.BadParameter, match="from 0 to 100 and with at most 9 decimal places, found"):
        Amount(100).convert(given, None, None)


@pytest.mark.parametrize("period", [(None, None), (None, NOW), (NOW, None), (NOW, NOW + 1)])
def test_a_period_may_be_open(period: tuple[float | None, float | None]) -> None:
    check_period(*period)


def test_a_database_that_fails_is_told_without_a_trace(tmp_path: Path) -> None:
    """It may be lost at any moment after it was opened: here its table is."""
    config = write_config(tmp_path)
    stores = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    with stores.database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE keys")
    done = CliRunner().invoke(main, ["keys", "list", "--config", str(config)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: the database failed: no such table: keys; try again once it is well\n"


def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: its connections to a server end with it."""
    return subprocess.run([sys.executable, "-c", MAIN, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [["keys", "create"], ["database", "prune", "--before", "2026-01-01"]], ids=" ".join)
def test_a_database_that_can_be_read_alone_is_told_with_what_to_do(command: list[str], postgres: Postgres) -> None:
    done = _process(*command, "--database", postgres.url() + STANDBY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the database failed: cannot execute ")
    assert done.stderr.endswith("in a read-only transaction; name the server that takes writes, and not its standby\n")


def test_a_user_without_the_right_to_write_is_told_so(postgres: Postgres) -> None:
    url = postgres.url()
    owner = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with owner.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE reads_alone LOGIN")
        connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reads_alone")
    done = _process("keys", "create", "--database", url.replace("tollgate@", "reads_alone@"))
    with owner.begin() as connection:
        connection.exec_driver_sql("DROP OWNED BY reads_alone")
        connection.exec_driver_sql("DROP ROLE reads_alone")
    owner.dispose()
    told = "Error: the database failed: permission denied for table keys; give this user the rights of the one that"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{told} made the tables\n")


def test_nothing_is_written_over_a_database(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    url = f"sqlite:///{tmp_path / 'tollgate.db'}"
    open_stores(url).ledger.insert([settled("tg-1")])
    for command in (["trace"], *(["costs", "--format", form] for form in ("table", "csv", "html", "parquet"))):
        result = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "tollgate.db"), "--database", url])
        assert result.exit_code == 1
        assert "is a database, and would be lost: name another file" in result.stderr
    assert [each["request_id"] for each in open_stores(url).ledger.recent(9)] == ["tg-1"]
