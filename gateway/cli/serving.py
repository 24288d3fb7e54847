"""One process that serves: from a bound socket to the last stream after SIGTERM."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import uvicorn
import uvloop

from gateway import logs
from gateway.app import Application
from gateway.contracts.errors import InputError
from gateway.server.protocol import HttpProtocol

STOPPING = (signal.SIGTERM, signal.SIGINT)
NEW_OBJECTS = 20_000
"""Made and still there since its last look: then the collector looks for circles among them."""
STORING_S = 5
"""What a request that was cut gets to write its row."""
TELLING_S = 1.0
"""What clients get to hear of it when all is cut at a second signal: some read nothing, or send half a request."""

TURN_S = 0.0005
"""For so long a thread keeps the interpreter while the loop, with requests to answer, waits for it. By default it is
ten times that, each of the several times that a request is woken for."""
ARENAS = -8
"""M_ARENA_MAX of glibc's malloc.h, which Python does not name."""
THREADS = 32
"""For what waits for disks and databases. They are made as they are needed."""
MOST_FILES = 1_048_576
"""No gateway comes near, and some systems call their limit `infinity` and refuse it as a number."""
FEW_FILES = 4096
"""Below it the limit is likely to be met: a stream takes two, one of the client and one of the engine."""

Result = TypeVar("Result")

log = logging.getLogger("tollgate")


@dataclass(frozen=True)
class Times:
    """Seconds. After the first signal a gateway goes on accepting for `drain_s`, with /ready at 503; then running
    streams get `grace_s`. A connection may be idle for `idle_s`.
    """

    drain_s: float = 0.0
    grace_s: float = 30.0
    idle_s: float = 75.0

    @property
    def longest_s(self) -> float:
        """From the first signal until the last stream is cut."""
        return self.drain_s + self.grace_s


def allow_files() -> str | None:
    """Let this process, and those that it starts, open as many files and sockets as the system allows.

    What there is to say of it: that it was raised, or that it is low. Many systems begin with 1,024, which 512 streams
    use up.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    raised = soft != resource.RLIM_INFINITY and soft < most
    if raised:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):  # some systems allow less than they say
            raised, most = False, soft
    if most < FEW_FILES:
        return f"open files: at most {most:,} and each stream takes two, `ulimit -Hn` allows no more"
    return f"open files: at most {most:,}, raised from {soft:,}" if raised else None


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a process's one coroutine, with a log on standard error."""
    logs.begin(os.environ)
    sys.setswitchinterval(TURN_S)
    with contextlib.suppress(AttributeError):  # another C library than glibc
        # Threads take turns at the interpreter, so a heap for each wins nothing and holds megabytes of what they freed.
        ctypes.CDLL(None).mallopt(ARENAS, 1)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # By default there are few on few cores: loops that wait for a database would keep the look at keys waiting.
        runner.get_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        return runner.run(main)


def bound(host: str, port: int, otherwise: str) -> socket.socket:
    """A socket at an address. Raises InputError, which says what to do `otherwise`."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError(f"cannot listen on {host}:{port} ({error.strerror}): {otherwise}") from error
    return listener


@contextlib.contextmanager
def signals(handlers: dict[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """While inside, handle signals in the event loop; before and after, as it was."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, previous)


class Server(uvicorn.Server):
    """uvicorn, with an end in order: `stop` has load balancers look away, then lets running streams end, as `times`
    say; asked again, it cuts them.

    `beside` starts once the gateway answers; when it returns, the server stops.
    """

    def __init__(self, app: Application, times: Times, beside: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(HttpProtocol, direct=app.direct, leaving=app.leaving),  # type: ignore[arg-type]  # a factory does as well
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # nothing here depends on a client's address
                timeout_graceful_shutdown=int(times.grace_s) + STORING_S,
                timeout_keep_alive=times.idle_s,  # type: ignore[arg-type]  # a fraction does as well
                server_header=False,
            )
        )
        self._times, self._leaving, self._hurried = times, app.leaving, False
        self._beside = beside
        self._companion: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then start what runs beside."""
        await super().startup(sockets)
        # What is there now stays: the collector need not walk it for ever. A request's objects go by their count alone,
        # and the few circles that errors make can wait for a while.
        gc.collect()
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS, 20, 20)
        self._companion = asyncio.create_task(self._beside())
        self._companion.add_done_callback(self._parted)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what runs beside, then let the streams end."""
        if self._companion is not None:
            self._companion.cancel()
        if self._hurried:
            asyncio.get_running_loop().call_soon(self._cut)  # what came since, now that nothing comes any more
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves it out then, and rows are still to be stored
            await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end it in order: the signal is not raised again afterwards, since more is to be ended."""
        with signals(dict.fromkeys(STOPPING, self.stop)):
            yield

    def stop(self) -> None:
        """Say that it ends, accept nothing more after a while, and let what runs end."""
        if self._leaving.now:
            self.should_exit = self._hurried = True
            self._cut()
            asyncio.get_running_loop().call_later(TELLING_S, self._leave)
            return
        self._leaving.now = True
        if self._times.drain_s:
            log.info("it accepts for another %g s, so that load balancers look away first", self._times.drain_s)
            asyncio.get_running_loop().call_later(self._times.drain_s, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self.should_exit = True
        asyncio.get_running_loop().call_later(self._times.grace_s, self._cut)

    def _cut(self) -> None:
        for task in self.server_state.tasks:
            task.cancel("the gateway ends")

    def _leave(self) -> None:
        """End, whoever is still connected, once every request that was cut has its row."""
        if self.server_state.tasks:
            asyncio.get_running_loop().call_later(TELLING_S, self._leave)
        else:
            self.force_exit = True

    def _parted(self, companion: asyncio.Task[None]) -> None:
        parted(companion)
        if not companion.cancelled() and companion.exception() is None and not self._leaving.now:
            self.stop()


def parted(follower: asyncio.Task[None]) -> None:
    """Say why a configuration is followed no more, unless that was to end: nobody awaits what runs beside a gateway."""
    if not follower.cancelled() and (error := follower.exception()) is not None:
        log.error("the configuration is followed no more, restart the gateway", exc_info=error)


async def serve(
    app: Application, listener: socket.socket, *, times: Times, beside: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Serve until a signal, or until `beside` returns, which starts once the gateway answers. Raises InputError."""
    server = Server(app, times, beside)
    await server.serve(sockets=[listener])
    if not server.started:
        raise InputError("the gateway could not start: see the message above")
