"""Processes of `gateway serve` that need not import it each: a server that has imported it forks one whenever asked.

    tests ──one message: arguments, folder, environment, four descriptors──▶ server ──fork──▶ gateway
    tests ◀──on the fourth descriptor: its process id, then its exit code─── server

What is shared is what Python had compiled and imported; a gateway is a process as any other, with signals, descriptors,
a folder and an environment of its own. The server has one thread and no event loop, so that nothing is cut by a fork.
"""

import asyncio
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from asyncio import StreamReader, StreamReaderProtocol
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = ("gateway.cli.serve", "psycopg", "redis.asyncio", "redis.asyncio.retry", "sqlalchemy.dialects.sqlite")
MESSAGE_BYTES = 200_000
PASSED = 4
"""Standard input, output and error, and where news of the process goes."""


class Forked:
    """A process, as `asyncio.subprocess.Process` shows one whose output is a pipe."""

    def __init__(self, pid: int, stdout: StreamReader, news: StreamReader) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None
        self._handle = os.pidfd_open(pid)
        self._ending = asyncio.create_task(self._end(news))

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is known to have ended."""
        with contextlib.suppress(ProcessLookupError):
            if self.returncode is None:
                signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        """Let it end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, negative for a signal."""
        return await asyncio.shield(self._ending)

    async def communicate(self) -> tuple[bytes, None]:
        """What it still had to say, once it has ended."""
        said = await self.stdout.read()
        await self.wait()
        return said, None

    async def _end(self, news: StreamReader) -> int:
        line = await news.readline()
        assert line, "the fork server is gone"
        self.returncode = int(line)
        os.close(self._handle)
        await news.read()  # up to its end, where it is closed
        return self.returncode


async def fork(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], stderr: IO[bytes]) -> Forked:
    """Start `gateway` with these arguments."""
    mine, news = socket.socketpair()
    reading, writing = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    message = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
    assert len(message) < MESSAGE_BYTES
    try:
        socket.send_fds(_server(), [message], [nothing, writing, stderr.fileno(), news.fileno()])
    finally:
        news.close()
        os.close(writing)
        os.close(nothing)
    stdout, told = await _read(os.fdopen(reading, "rb", buffering=0)), await _read(mine)
    pid = await told.readline()
    assert pid, "the fork server is gone: its standard error is the tests' own"
    return Forked(int(pid), stdout, told)


async def _read(source: IO[bytes] | socket.socket) -> StreamReader:
    """A reader that closes its source at the end."""
    reader = StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: StreamReaderProtocol(reader), source)
    return reader


@functools.cache
def _server() -> socket.socket:
    """The server of this process, from the first start on until the tests have ended."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.gateway.fork_server", str(theirs.fileno())],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def main(descriptor: int) -> None:
    """Fork for each message until there are no more tests; in the process that was forked, be `gateway`."""
    for name in IMPORTED:
        importlib.import_module(name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork would cut other threads"
    gc.collect()
    gc.freeze()
    if (arguments := _asked(descriptor)) is not None:
        from gateway.cli import main as gateway

        gateway(arguments, prog_name="gateway")


def _asked(descriptor: int) -> list[str] | None:
    """The arguments, in a process that was forked; None in the server, once there are no more tests."""
    asked = socket.socket(fileno=descriptor)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    living: dict[int, tuple[int, int]] = {}
    while True:
        for ready, _ in poll.poll():
            if ready in living:
                poll.unregister(ready)
                pid, told = living.pop(ready)
                _tell(told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(told)
                os.close(ready)
                continue
            message, passed, _, _ = socket.recv_fds(asked, MESSAGE_BYTES, PASSED)
            if not message:
                return None
            if not (pid := os.fork()):
                asked.detach()
                return _become(message, passed)
            *standard, told = passed
            for each in standard:
                os.close(each)
            _tell(told, pid)
            handle = os.pidfd_open(pid)
            living[handle] = pid, told
            poll.register(handle, select.POLLIN)


def _become(message: bytes, passed: list[int]) -> list[str]:
    """Have the descriptors, the folder and the environment of the message, and nothing of the server's."""
    arguments, folder, environment = json.loads(message)
    for number, each in enumerate(passed[:-1]):
        os.dup2(each, number)
    os.closerange(len(passed) - 1, os.sysconf("SC_OPEN_MAX"))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    return list(arguments)


def _tell(told: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever asked no longer listens
        os.write(told, f"{number}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
