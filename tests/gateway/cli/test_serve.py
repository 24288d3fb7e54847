"""`gateway serve`: what it refuses, and one gateway from its start to SIGTERM."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.engine.simulator import Engine
from tests.gateway.builders import write_config
from tests.gateway.postgres import STANDBY, Postgres
from tests.gateway.process import running, stores_in
from tests.gateway.serving import make_key


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command sets handlers for its own process, which here is the tests'."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _serve(*options: str) -> Result:
    return CliRunner().invoke(main, ["serve", *options])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--config", "a.yaml", "--upstream", "http://h"),
        ("--engine", "m", "--upstream", "http://h"),
        ("--upstream", "http://h", "--port", "65536"),
        ("--upstream", "http://h", "--port", "-1"),
        ("--upstream", "http://h", "--workers", "0"),
        ("--upstream", "http://h", "--grace", "-1"),
        ("--upstream", "http://h", "--grace", "nan"),
        ("--upstream", "http://h", "--drain", "nan"),
        ("--upstream", "http://h", "--keep-alive", "nan"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(options: tuple[str, ...]) -> None:
    result = _serve(*options)
    assert (result.exit_code, result.stdout) == (2, "")


def test_an_engine_that_is_down_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = _serve("--upstream", f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert result.exit_code == 1
    assert "is the engine up?" in result.stderr
    assert not (tmp_path / "tollgate.db").exists()


def test_an_interpreter_without_vllm_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = _serve("--engine", "m", "--engine-python", str(tmp_path / "python"))
    assert result.exit_code == 1
    assert "cannot be run" in result.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_an_address_that_cannot_be_had_is_named(tmp_path: Path, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = _serve("--config", str(write_config(tmp_path)), "--host", host, "--port", str(port))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: cannot listen on {host}:{port}")
    assert "--port" in result.stderr


def test_a_database_that_can_be_read_alone_stops_the_start(tmp_path: Path, postgres: Postgres) -> None:
    result = _serve("--config", str(write_config(tmp_path, database=postgres.url() + STANDBY)), "--port", "0")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be written: cannot execute UPDATE in a read-only transaction" in result.stderr


async def test_a_gateway_from_its_start_to_sigterm(tmp_path: Path) -> None:
    async with Engine("faq") as engine, running(tmp_path, "--upstream", engine.url, fresh=True) as gateway:
        await gateway.answers()
        answer = await gateway.ask()
        assert answer.status == 200
        assert answer.json["choices"][0]["message"]["content"] == "one two"
        assert await gateway.ended(signal.SIGTERM) == 0
        assert all("replica 'faq-0' " in line for line in gateway.errors.splitlines()), "more than what the engine is"
        assert gateway.printed.count(gateway.key) == 1
        assert "model 'faq': release faq@discovered" in gateway.printed
    stores = stores_in(tmp_path)
    (row,) = [each for each in stores.ledger.recent(5) if each["purpose"] == "serve"]
    assert (row["request_id"], row["outcome"]) == (answer.header("x-tollgate-request-id"), "completed")
    assert list(stores.spool_folder.iterdir()) == []


async def test_a_second_start_shows_no_key_and_ctrl_c_leaves_no_traceback(tmp_path: Path) -> None:
    key = make_key(stores_in(tmp_path))
    async with Engine("faq") as engine, running(tmp_path, "--upstream", engine.url, "--host", "::1") as gateway:
        await gateway.answers(key=key)
        assert re.fullmatch(r"http://\[::1\]:\d+", gateway.url)
        assert (await gateway.get("/health")).status == 200
        await gateway.ended(signal.SIGINT)
        assert "Traceback" not in gateway.errors
        assert "sk-tg-" not in gateway.printed


async def test_sighup_without_a_configuration_is_told_and_harmless(tmp_path: Path) -> None:
    async with Engine("faq") as engine, running(tmp_path, "--upstream", engine.url) as gateway:
        await gateway.answers()
        gateway.process.send_signal(signal.SIGHUP)
        await gateway.logged("SIGHUP: there is no configuration to read again")
        assert (await gateway.ask()).status == 200


LOADING = """#!{python}
import os, signal, sys
if sys.argv[1] == "-c":
    print("ModuleSpec(name='vllm')")
    sys.exit()
print(os.getpid(), flush=True)
signal.pause()
"""


async def test_sighup_while_its_engine_loads_ends_neither(tmp_path: Path) -> None:
    """As when the terminal closes: an engine that nobody stops keeps its GPU."""
    python, told = tmp_path / "python", tmp_path / "engine.log"
    python.write_text(LOADING.format(python=sys.executable))
    python.chmod(0o755)
    async with running(tmp_path, "--engine", "m", "--engine-python", str(python)) as gateway:

        async def loads() -> bool:
            return told.exists() and told.read_text().endswith("\n")

        await gateway.until(loads)
        engine = int(told.read_text())
        try:
            gateway.process.send_signal(signal.SIGHUP)
            assert await gateway.ended(signal.SIGTERM) == 0
            with pytest.raises(ProcessLookupError):
                os.kill(engine, 0)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(engine, signal.SIGKILL)
