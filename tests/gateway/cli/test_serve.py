"""`gateway serve`: what it refuses, and one gateway from its start to SIGTERM."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.stores.bundle import open_stores
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.builders import write_config

ROOT = Path(__file__).resolve().parents[3]
WITHIN_S = 30.0


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


class Gateway:
    """A gateway in a process of its own, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed = ""

    async def printed_line(self, pattern: str) -> str:
        """The first group of the first line that matches."""
        assert self.process.stdout is not None
        while not (found := re.search(pattern, self.printed)):
            line = await asyncio.wait_for(self.process.stdout.readline(), WITHIN_S)
            assert line, self.printed
            self.printed += line.decode()
        return found[1]

    async def ended(self, number: signal.Signals) -> tuple[int, str]:
        """(exit code, standard error) after a signal."""
        self.process.send_signal(number)
        out, err = await asyncio.wait_for(self.process.communicate(), 8.0)
        self.printed += out.decode()
        return self.process.returncode or 0, err.decode()


@asynccontextmanager
async def _running(folder: Path, *options: str) -> AsyncIterator[Gateway]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from gateway.cli import main; main()",
        "serve",
        *options,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Gateway(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_gateway_from_its_start_to_sigterm(tmp_path: Path) -> None:
    async with Engine("faq") as engine, _running(tmp_path, "--upstream", engine.url, "--port", "0") as gateway:
        url = await gateway.printed_line(r"answers on (http://\S+)/v1\n")
        key = await gateway.printed_line(r"TOLLGATE_API_KEY=(sk-tg-\S+)\n")
        bearer = {"authorization": f"Bearer {key}"}
        body = {"model": "faq", "messages": [{"role": "user", "content": "one two"}]}
        answer = await raw.post(url, "/v1/chat/completions", body, bearer)
        assert answer.status == 200
        assert answer.json["choices"][0]["message"]["content"] == "one two"
        code, err = await gateway.ended(signal.SIGTERM)
        assert code == 0
        assert all(line.startswith("replica 'faq-0' ") for line in err.splitlines()), "more than what the engine lacks"
        assert gateway.printed.count(key) == 1
        assert "model 'faq': release faq@discovered" in gateway.printed
    stores = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    (row,) = [each for each in stores.ledger.recent(5) if each["purpose"] == "serve"]
    assert (row["request_id"], row["outcome"]) == (answer.header("x-tollgate-request-id"), "completed")
    assert list(stores.spool_folder.iterdir()) == []


async def test_a_second_start_shows_no_key_and_ctrl_c_leaves_no_traceback(tmp_path: Path) -> None:
    open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}").keys.create(
        name="n", team="t", scope="serve", models=None, now=0.0, ttl_s=None, random_bytes=os.urandom
    )
    options = ("--port", "0", "--host", "::1")
    async with Engine("faq") as engine, _running(tmp_path, "--upstream", engine.url, *options) as gateway:
        url = await gateway.printed_line(r"answers on (http://\S+)/v1\n")
        assert re.fullmatch(r"http://\[::1\]:\d+", url)
        assert (await raw.exchange(url, "GET", "/health")).status == 200
        _, err = await gateway.ended(signal.SIGINT)
        assert "Traceback" not in err
        assert "sk-tg-" not in gateway.printed
