"""Several processes behind one socket: started, told of every configuration, watched, and ended together.

    parent ──standard input──▶ worker     a deployment, one JSON line each; `null` says that one was refused;
                                          its end says that the parent is gone, and the worker drains
    worker ──standard output─▶ parent     one line once it answers

The parent reads the configuration for all: no two workers serve by different ones, and a worker that takes a dead one's
place gets the last good one, whatever the file says by then. Workers have sessions of their own, so that Ctrl-C reaches
them through the parent alone.
"""

import asyncio
import json
import logging
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead
from pydantic import TypeAdapter

from gateway.config import Deployment
from gateway.contracts.errors import InputError

READY = b"ready\n"
SLOT = "TOLLGATE_WORKER"
"""The variable that tells a worker which one it is, from 0 on: one that takes a dead one's place is the same."""
STEADY_S = 10.0
"""A worker that lived this long did not die of how it was started."""
DEATHS = 5
"""Deaths in a row, each sooner than that, after which no other worker is started."""
FIRST_S = 0.5
"""Before the first of them; twice as long before each next one."""
LONGEST_S = 8.0
MARGIN_S = 10.0
"""What a worker gets beyond its grace, to store its rows."""

DEPLOYMENT: TypeAdapter[Deployment | None] = TypeAdapter(Deployment | None)

log = logging.getLogger("tollgate")


def encode(deployment: Deployment | None) -> bytes:
    """One line for a worker. Secrets travel as references, as they stand in the configuration."""
    return DEPLOYMENT.dump_json(deployment, by_alias=True, exclude_defaults=True) + b"\n"


def decode(line: bytes) -> Deployment | None:
    """What a worker was told."""
    return DEPLOYMENT.validate_python(json.loads(line))


@dataclass
class Workers:
    """`count` processes of `command`, which inherit the descriptors `fds`. Times in seconds.

    `grace_s`: how long they may take to end, after the signal. `metrics` is the folder in which they share their
    metrics.
    """

    command: Sequence[str]
    count: int
    fds: Sequence[int]
    environment: Mapping[str, str]
    metrics: Path
    deployment: Deployment
    grace_s: float
    monotonic: Callable[[], float]
    first_s: float = FIRST_S
    margin_s: float = MARGIN_S
    _running: dict[int, Process] = field(default_factory=dict, init=False)
    _codes: list[int] = field(default_factory=list, init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self, ready: Callable[[], None]) -> int:
        """Keep the workers running until `stop`, and return the worst of their exit codes.

        `ready` is called once, when all of them answer. Raises InputError when they cannot be kept running.
        """
        answering = [asyncio.Event() for _ in range(self.count)]
        keepers = [asyncio.create_task(self._keep(slot, event)) for slot, event in enumerate(answering)]
        greeter = asyncio.create_task(self._greet(answering, ready))
        try:
            await asyncio.gather(*keepers)
        finally:
            for task in (greeter, *keepers):
                task.cancel()
            await asyncio.gather(greeter, *keepers, return_exceptions=True)
            await self._end()
        return max(self._codes, default=0)

    def stop(self) -> None:
        """Let every worker end its streams; asked again, cut them."""
        if not self._stopping.is_set():
            self._stopping.set()
            asyncio.get_running_loop().call_later(self.grace_s + self.margin_s, self._signal, signal.SIGKILL)
        self._signal(signal.SIGTERM)

    async def tell(self, deployment: Deployment | None) -> None:
        """Have every worker serve another deployment; None tells them of one that was refused."""
        if deployment is not None:
            self.deployment = deployment
        line = encode(deployment)
        for process in self._running.values():
            _write(process, line)

    async def _keep(self, slot: int, answering: asyncio.Event) -> None:
        """One worker, and the next one when it dies."""
        deaths = 0
        while not self._stopping.is_set():
            began = self.monotonic()
            code = await self._live(slot, answering)
            if self._stopping.is_set():
                self._codes.append(code)
                return
            if not answering.is_set():
                raise InputError(f"a worker ended with exit code {code} before it answered: see the message above")
            deaths = 1 if self.monotonic() - began >= STEADY_S else deaths + 1
            if deaths >= DEATHS:
                raise InputError(
                    f"worker {slot} died {deaths} times in a row, at last with exit code {code}: giving up"
                )
            pause = min(LONGEST_S, self.first_s * 2.0 ** (deaths - 1))
            log.error("worker %d ended with exit code %d; another one starts in %g s", slot, code, pause)
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                continue

    async def _live(self, slot: int, answering: asyncio.Event) -> int:
        """The life of one worker, and its exit code."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=self.fds,
            env={**self.environment, SLOT: str(slot)},
            start_new_session=True,
        )
        self._running[slot] = process
        _write(process, encode(self.deployment))
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        answers = await process.stdout.readline() == READY
        if answers and answering.is_set():
            log.info("worker %d answers again", slot)
        elif answers:
            answering.set()
        code = await process.wait()
        del self._running[slot]
        mark_process_dead(process.pid, str(self.metrics))  # type: ignore[no-untyped-call]
        if code == -signal.SIGTERM and self._stopping.is_set():
            return 0  # the signal met it before it served, or when it had ended all it had: then nothing handles it
        return 128 - code if code < 0 else code

    async def _greet(self, answering: Sequence[asyncio.Event], ready: Callable[[], None]) -> None:
        for event in answering:
            await event.wait()
        ready()

    async def _end(self) -> None:
        """Leave no worker behind: after an error the others still end their streams."""
        self.stop()
        await asyncio.gather(*(process.wait() for process in self._running.values()))

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running.values():
            if process.returncode is None:
                process.send_signal(number)


def _write(process: Process, line: bytes) -> None:
    assert process.stdin is not None
    if not process.stdin.is_closing():
        process.stdin.write(line)
