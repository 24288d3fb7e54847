"""`gateway serve` in a process of its own, and what it has printed."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.stores.bundle import Stores, open_stores
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.builders import write_config
from tests.gateway.fork_server import Forked, fork
from tests.gateway.serving import make_key, new_database
from tests.polling import WITHIN_S, until

ROOT = Path(__file__).resolve().parents[2]
MAIN = "from gateway.cli import main; main()"
NOTHING: Mapping[str, str] = {}
UNWATCHED = {"probes": False}
HELLO = {"model": "faq", "messages": [{"role": "user", "content": "one two"}]}


class Gateway:
    """A running gateway. `url` and `key` are what its greeting says."""

    def __init__(self, process: asyncio.subprocess.Process | Forked, errors: Path) -> None:
        self.process = process
        self.printed = ""
        self._errors = errors
        self.folder = errors.parent
        self.url = self.key = ""

    @property
    def errors(self) -> str:
        """Its standard error so far."""
        return self._errors.read_text()

    async def printed_line(self, pattern: str) -> str:
        """The first group of the first line that matches."""
        assert self.process.stdout is not None
        while not (found := re.search(pattern, self.printed)):
            line = await asyncio.wait_for(self.process.stdout.readline(), WITHIN_S)
            assert line, self.printed + self.errors
            self.printed += line.decode()
        return found[1]

    async def answers(self, *, key: str = "") -> None:
        """Wait until it answers; its key is the one of its greeting unless one is given."""
        self.url = await self.printed_line(r"answers on (http://\S+)/v1\n")
        self.key = key or await self.printed_line(r"TOLLGATE_API_KEY=(sk-tg-\S+)\n")

    async def ask(self, **changes: Any) -> raw.Answer:
        """A chat completion."""
        return await raw.post(self.url, "/v1/chat/completions", HELLO | changes, self.bearer)

    async def get(self, path: str) -> raw.Answer:
        """A page."""
        return await raw.exchange(self.url, "GET", path, headers=self.bearer)

    @property
    def bearer(self) -> dict[str, str]:
        """The key as a header."""
        return {"authorization": f"Bearer {self.key}"}

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a condition."""
        await until(condition)

    async def logged(self, pattern: str) -> None:
        """Wait for a line on standard error."""

        async def there() -> bool:
            return re.search(pattern, self.errors) is not None

        await self.until(there)

    async def gather(self, asked: Sequence[Awaitable[raw.Answer]]) -> list[int | None]:
        """The status of each answer, None for one that broke off."""
        found = await asyncio.gather(*asked, return_exceptions=True)
        return [each.status if isinstance(each, raw.Answer) else None for each in found]

    async def digests(self, others: set[str]) -> set[str]:
        """The configurations by which the workers serve, once none of these others is among them."""
        found = set[str]()

        async def settled() -> bool:
            found.clear()
            for _ in range(16):
                found.add((await self.get("/health")).json["config_digest"])
            return not found & others

        await self.until(settled)
        return found

    def children(self) -> list[int]:
        """The process ids of its workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in path.read_text().split()]

    def proc(self, name: str) -> str:
        """A page of proc(5) about its process."""
        return Path(f"/proc/{self.process.pid}/{name}").read_text()

    def open_files(self) -> int:
        """How many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    async def ended(self, number: signal.Signals | None = None) -> int:
        """The exit code, after a signal if there is one."""
        if number is not None:
            self.process.send_signal(number)
        out, _ = await asyncio.wait_for(self.process.communicate(), WITHIN_S)
        self.printed += out.decode()
        return self.process.returncode or 0


@asynccontextmanager
async def serving(folder: Path, engine: Engine, *options: str) -> AsyncIterator[Gateway]:
    """A gateway that answers with a configuration: one engine that nothing but requests asks, and a key."""
    write_config(folder, [engine.url], health=UNWATCHED)
    key = make_key(stores_in(folder))
    async with running(folder, "--config", "gateway.yaml", *options) as gateway:
        await gateway.answers(key=key)
        yield gateway


@asynccontextmanager
async def running(
    folder: Path,
    *options: str,
    fresh: bool = False,
    files: tuple[int, int] | None = None,
    before: Sequence[str] = (),
    environment: Mapping[str, str] = NOTHING,
    code: str = MAIN,
) -> AsyncIterator[Gateway]:
    """`gateway serve` with these options in a folder, on a free port; `fresh` when its start is what is looked at.

    What else is asked of its start makes it fresh as well. `files` are its limits of them, soft and hard; `before` is a
    command that becomes it, `environment` is added to that of the tests, `code` what Python runs.
    """
    arguments, full = ("serve", "--port", "0", *options), {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    process: asyncio.subprocess.Process | Forked
    with (folder / "errors.txt").open("wb") as errors:
        if fresh or files or before or environment or code != MAIN:
            limited = [] if files is None else ["prlimit", f"--nofile={files[0]}:{files[1]}"]
            command = (*limited, *before, sys.executable, "-c", code, *arguments)
            process = await asyncio.create_subprocess_exec(
                *command, cwd=folder, env=full, stdout=asyncio.subprocess.PIPE, stderr=errors
            )
        else:
            process = await fork(arguments, folder, full, errors)
    try:
        yield Gateway(process, folder / "errors.txt")
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def stores_in(folder: Path) -> Stores:
    """The stores of a gateway that was started in a folder."""
    return open_stores(new_database(folder))
