"""One worker, without the gateway that starts several of them."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.config import Deployment
from gateway.control_plane.workers import encode
from tests.engine import raw
from tests.gateway.process import ROOT
from tests.gateway.serving import deployment

WITHIN_S = 30.0


@asynccontextmanager
async def _worker(folder: Path) -> AsyncIterator[tuple[Process, str]]:
    """(process, URL) of a worker that was told a deployment and answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number, port = listener.fileno(), listener.getsockname()[1]
        command = (sys.executable, "-m", "gateway.cli.worker", str(number), "0", "30", "75")
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, pass_fds=[number], env=env, cwd=folder
        )
    try:
        assert process.stdout is not None
        _tell(process, _deployed(folder, "http://a"))
        assert await asyncio.wait_for(process.stdout.readline(), WITHIN_S) == b"ready\n"
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _deployed(folder: Path, url: str) -> Deployment:
    found = deployment({"main": [url]})
    database = f"sqlite:///{folder / 'tollgate.db'}"
    return Deployment(found.config.model_copy(update={"database": database}), found.releases, found.prices)


def _tell(process: Process, deployed: Deployment) -> None:
    assert process.stdin is not None
    process.stdin.write(encode(deployed))


async def test_it_serves_what_it_is_told(tmp_path: Path) -> None:
    async with _worker(tmp_path) as (process, url):
        first = (await raw.exchange(url, "GET", "/health")).json["config_digest"]
        _tell(process, _deployed(tmp_path, "http://b"))
        async with asyncio.timeout(WITHIN_S):
            while (await raw.exchange(url, "GET", "/health")).json["config_digest"] == first:
                pass


async def test_it_ends_in_order_when_its_parent_is_gone(tmp_path: Path) -> None:
    async with _worker(tmp_path) as (process, _):
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), WITHIN_S) == 0
    assert list((tmp_path / "tollgate.db.spool").iterdir()) == []


async def test_it_ends_when_its_parent_was_gone_before_it_was_ready(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = os.pipe()
        os.close(reader)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli.worker", str(listener.fileno()), "0", "30", "75"),
            stdin=PIPE,
            stdout=writer,
            pass_fds=[listener.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
        )
        os.close(writer)
    try:
        _tell(process, _deployed(tmp_path, "http://a"))
        assert await asyncio.wait_for(process.wait(), WITHIN_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_sighup_is_the_parents(tmp_path: Path) -> None:
    async with _worker(tmp_path) as (process, url):
        process.send_signal(signal.SIGHUP)
        assert (await raw.exchange(url, "GET", "/health")).status == 200
