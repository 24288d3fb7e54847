"""SIGTERM: what runs ends, within its grace; a request that is cut leaves its one row."""

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.serving import TURN_S, parted, signals
from gateway.contracts.errors import GatewayStopping
from gateway.contracts.ledger import COMPLETED
from gateway.server.limits import DEFAULTS
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.process import HELLO, Gateway, serving, stores_in

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


LINGERS_S = DEFAULTS.linger_s / 2
CUT = (GatewayStopping.code, 503)


async def _stream(gateway: Gateway, engine: Engine, client: raw.Client) -> raw.Answer:
    """A stream that has begun and goes no further."""
    engine.hold()
    await client.send("POST", "/v1/chat/completions", HELLO | {"stream": True}, gateway.bearer)
    await engine.wait_for(lambda e: e.running == 1)
    engine.step()
    answer = await client.head()
    answer.chunks.append(await client.chunk())
    return answer


async def _rest(client: raw.Client) -> list[bytes]:
    """The chunks up to the end. Raises IncompleteReadError or ConnectionError when it is cut."""
    chunks = []
    while chunk := await client.chunk():
        chunks.append(chunk)
    return chunks


def _rows(folder: Path) -> list[Any]:
    return [(row["outcome"], row["status"]) for row in stores_in(folder).ledger.recent(5)]


async def _refused(gateway: Gateway) -> bool:
    """Whether no connection is accepted any more."""
    try:
        async with raw.connect(gateway.url):
            return False
    except ConnectionError:
        return True


@WORKERS
async def test_a_stream_that_runs_at_sigterm_ends_in_order(tmp_path: Path, workers: str) -> None:
    async with Engine("faq") as engine, serving(tmp_path, engine, "--workers", workers) as gateway:
        async with raw.connect(gateway.url) as client:
            answer = await _stream(gateway, engine, client)
            gateway.process.send_signal(signal.SIGTERM)
            await gateway.until(lambda: _refused(gateway))
            engine.resume()
            answer.chunks += await _rest(client)
        assert answer.events[-1] == b"data: [DONE]\n\n"
        assert (await gateway.ended(), gateway.errors) == (0, "")
    assert _rows(tmp_path) == [(COMPLETED, 200)]


@WORKERS
async def test_after_the_grace_a_stream_is_told_of_its_end_and_leaves_one_row(tmp_path: Path, workers: str) -> None:
    options = ("--workers", workers, "--grace", "0.2")
    async with Engine("faq") as engine, serving(tmp_path, engine, *options) as gateway:
        async with raw.connect(gateway.url) as client:
            answer = await _stream(gateway, engine, client)
            code = await gateway.ended(signal.SIGTERM)
            answer.chunks += await _rest(client)
        assert b'"code":"gateway_stopping"' in answer.events[-1]
        assert (code, gateway.errors) == (0, "")
        await engine.wait_for(lambda e: e.running == 0)
    assert _rows(tmp_path) == [CUT]
    assert list(stores_in(tmp_path).spool_folder.iterdir()) == []


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_at_once(tmp_path: Path, workers: str, number: signal.Signals) -> None:
    options = ("--workers", workers, "--grace", "3600")
    async with (
        Engine("faq") as engine,
        serving(tmp_path, engine, *options) as gateway,
        raw.connect(gateway.url) as client,
    ):
        await _stream(gateway, engine, client)
        gateway.process.send_signal(number)
        await gateway.until(lambda: _refused(gateway))
        assert (await gateway.ended(number), gateway.errors) == (0, "")
    assert _rows(tmp_path) == [CUT]


@WORKERS
async def test_at_a_second_signal_nobody_waits_for_who_sends_half_a_request(tmp_path: Path, workers: str) -> None:
    """It is told, and its connection lingers for half a minute else, as that of one that reads nothing."""
    options = ("--workers", workers, "--grace", "3600")
    async with (
        Engine("faq") as engine,
        serving(tmp_path, engine, *options) as gateway,
        raw.connect(gateway.url) as client,
    ):
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {gateway.key}\r\n"
        client.writer.write(f"{head}expect: 100-continue\r\ncontent-length: 100\r\n\r\n".encode())
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.writer.write(b"{")
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.until(lambda: _refused(gateway))
        async with asyncio.timeout(LINGERS_S):
            assert (await gateway.ended(signal.SIGTERM), gateway.errors) == (0, "")
        assert (await client.head()).status == 503


@WORKERS
async def test_who_waits_for_a_whole_answer_is_told_too(tmp_path: Path, workers: str) -> None:
    options = ("--workers", workers, "--grace", "0.2")
    async with Engine("faq") as engine, serving(tmp_path, engine, *options) as gateway:
        engine.hold()
        async with raw.connect(gateway.url) as client:
            await client.send("POST", "/v1/chat/completions", HELLO, gateway.bearer)
            await engine.wait_for(lambda e: e.running == 1)
            ending = asyncio.create_task(gateway.ended(signal.SIGTERM))
            answer = await client.answer()
            assert (answer.status, answer.json["error"]["code"]) == (503, "gateway_stopping")
            assert await ending == 0
    assert _rows(tmp_path) == [CUT]


async def test_a_follower_that_broke_is_told_and_one_that_ended_is_not(caplog: pytest.LogCaptureFixture) -> None:
    """By the one callback that both have: a gateway alone, and the parent of workers."""
    nothing = asyncio.get_running_loop().create_future()

    async def following(error: Exception | None) -> None:
        if error is not None:
            raise error
        await nothing

    tasks = [asyncio.create_task(following(each)) for each in (None, OSError("no thread is left"))]
    for task in tasks:
        task.add_done_callback(parted)
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks[0].cancel()
    await asyncio.wait(tasks)
    (record,) = caplog.records
    assert record.getMessage() == "the configuration is followed no more, restart the gateway"
    assert record.exc_info is not None
    assert "no thread is left" in str(record.exc_info[1])


async def test_signals_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGHUP)
    heard = asyncio.Event()
    with signals({signal.SIGHUP: heard.set}):
        signal.raise_signal(signal.SIGHUP)
        await asyncio.wait_for(heard.wait(), 30.0)
    assert signal.getsignal(signal.SIGHUP) is before


ARENAS = """
import asyncio, threading
from pathlib import Path
from gateway.cli import serving
async def threads():
    met = threading.Barrier(4)
    def allocate():
        met.wait()
        return [bytearray(5000) for _ in range(1000)]
    kept = await asyncio.gather(*(asyncio.to_thread(allocate) for _ in range(4)))
    sizes = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if "---p" in line]
    print(sum(int(end, 16) - int(begin, 16) > 48 * 2**20 for begin, end in sizes), len(kept))
WITH
"""


@pytest.mark.parametrize(("runs", "reserved"), [("serving.run(threads())", "0"), ("asyncio.run(threads())", "[1-9]")])
def test_threads_share_one_heap(runs: str, reserved: str) -> None:
    """Another one reserves 64 MB of addresses, most of which it may not write yet."""
    command = [sys.executable, "-c", ARENAS.replace("WITH", runs)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert re.fullmatch(f"{reserved}\\d* 4\n", found), found


def test_the_loop_waits_for_no_thread_as_long_as_threads_may_usually_keep_it() -> None:
    told = "import sys\nfrom gateway.cli import serving\nasync def turn(): return sys.getswitchinterval()\n"
    command = [sys.executable, "-c", f"{told}print(sys.getswitchinterval(), serving.run(turn()))"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    usual, served = map(float, found.split())
    assert served == TURN_S < usual
