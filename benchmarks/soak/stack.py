"""What a soak stands on: gateways, engines, a Redis and a PostgreSQL, each a real process on this machine."""

import asyncio
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from benchmarks import machine
from benchmarks.soak import processes
from benchmarks.soak.processes import PATIENCE_S, Child, python
from gateway.settings.budgets import BudgetConfig, RedisConfig
from gateway.stores.bundle import Stores, open_stores
from tests.engine import raw
from tests.gateway import postgres, redis_server
from tests.gateway.builders import manifest, write_config
from tests.gateway.serving import PRICES, make_key

ENGINES = 2
SLOTS = 4
"""Requests of the team `search` at once, over all gateways."""
PILOT = Decimal("0.002")
BUDGETS = {
    "free": BudgetConfig(team="free", amount=Decimal(1_000_000), per="total"),
    "pilot": BudgetConfig(team="pilot", amount=PILOT, per="total"),
}
TIMEOUTS = {"connect": 1, "first_byte": 4, "idle": 3, "total": 10, "client": 2}
HEALTH = {"period": 0.5, "timeout": 0.5, "failures": 2, "slow_start": 1}
DRAIN_S, GRACE_S = 1.0, 5.0
ENGINE = "tests/engine/simulator.py"
MODEL_STEP_S = 0.004
AWAY = (OSError, asyncio.IncompleteReadError, TimeoutError)
"""What a client meets that asks a dead, stopped or ending process."""


@dataclass
class Stack:
    """`releases`: what was promoted last. `gone`: keys that were revoked."""

    folder: Path
    postgres: postgres.Postgres
    redis: redis_server.RedisServer
    database: str
    stores: Stores
    engines: list[Child] = field(default_factory=list)
    gateways: list[Child] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    release: str = "faq@1"
    gone: list[str] = field(default_factory=list)
    most_body: int = 1024 * 1024

    def add_engine(self) -> None:
        """Another engine."""
        port, number = machine.free_port(), len(self.engines)
        command = python(str(processes.ROOT / ENGINE), "--port", str(port), "--step-s", str(MODEL_STEP_S))
        url = f"http://127.0.0.1:{port}"
        self.engines.append(Child(f"engine-{number}", [*command, "--max-num-seqs", "64"], self.folder, url))

    def add_gateway(self) -> None:
        """Another gateway, with a folder, a configuration and a spool of its own."""
        port, number = machine.free_port(), len(self.gateways)
        folder = self.folder / f"gateway-{number}"
        folder.mkdir()
        command = python("-c", "from gateway.cli import main; main()", "serve", "--config", "gateway.yaml")
        times = ("--port", str(port), "--drain", str(DRAIN_S), "--grace", str(GRACE_S))
        self.gateways.append(Child(folder.name, [*command, *times], folder, f"http://127.0.0.1:{port}"))
        self.configure(self.gateways[-1])

    def configure(self, gateway: Child) -> None:
        """Write a gateway's configuration."""
        (gateway.folder / "prices.yaml").write_text(PRICES.model_dump_json(exclude_none=True))
        write_config(
            gateway.folder,
            [engine.url for engine in self.engines],
            prices="prices.yaml",
            database=self.database,
            teams={"search": {"concurrency": SLOTS}, "tiny": {"rpm": 60}, "free": {}, "pilot": {}},
            budgets={name: json.loads(budget.model_dump_json(exclude_none=True)) for name, budget in BUDGETS.items()},
            redis={"url": self.redis.url, "timeout": 0.5, "share_limits": True},
            timeouts=TIMEOUTS,
            health=HEALTH,
            limits={"max_body_bytes": self.most_body},
        )

    @property
    def book(self) -> RedisConfig:
        """Where budgets are counted."""
        return RedisConfig(url=self.redis.url, timeout=2)

    async def up(self, child: Child) -> None:
        """Wait until it answers; one that ends meanwhile is started again, as whoever runs services does.

        A gateway does not start without PostgreSQL. Raises TimeoutError with what it said last.
        """
        until = time.monotonic() + PATIENCE_S
        while not await answers(child.url):
            if time.monotonic() > until:
                raise TimeoutError(f"{child.name} does not answer: {child.log.read_text()[-2000:]}")
            if not child.alive:
                child.start()
            await asyncio.sleep(0.2)

    def promote(self, release: str) -> None:
        """Make a release live, everywhere."""
        self.stores.releases.promote("faq", release, manifest(release).digest(), time.time())
        self.release = release

    def key(self, team: str) -> str:
        """A new key."""
        return make_key(self.stores, team=team)

    def revoke(self, key: str) -> None:
        """End a key."""
        self.stores.keys.revoke(key.split("-")[2], time.time())
        self.gone.append(key)

    def kill_postgres(self) -> None:
        """kill -9 of all its processes."""
        pids = processes.family(self.postgres.pid)
        processes.tell(pids, signal.SIGKILL)
        processes.gone(pids)

    def start_postgres(self) -> None:
        """Start it again after `kill_postgres`."""
        _insist(self.postgres.start)

    def start_redis(self) -> None:
        """Start it again, with nothing in it."""
        self.redis.stop()
        _insist(self.redis.start)

    def keep_logs(self, folder: Path) -> None:
        """Copy what gateways and engines have said."""
        folder.mkdir(parents=True, exist_ok=True)
        for child in (*self.gateways, *self.engines):
            shutil.copy(child.log, folder)

    def stop(self) -> None:
        """End gateways and engines, and leave the servers as they may be stopped."""
        for child in (*self.gateways, *self.engines):
            child.kill()
        if processes.taken(self.postgres.pid) is None:
            self.start_postgres()
        processes.tell(processes.family(self.postgres.pid), signal.SIGCONT)


def _insist(start: Callable[[], None]) -> None:
    """Start a server on the port that it had, which for a moment another may have as its own end of a connection."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            start()
            return
        except AssertionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


async def answers(url: str, seconds: float = 2.0) -> bool:
    """Whether somebody answers there."""
    try:
        async with asyncio.timeout(seconds):
            return (await raw.exchange(url, "GET", "/health")).status == 200
    except AWAY:
        return False


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[postgres.Postgres, redis_server.RedisServer]]:
    with ExitStack() as stack:
        yield stack.enter_context(postgres.running()), stack.enter_context(redis_server.redis_server(folder))


@asynccontextmanager
async def stack(folder: Path, gateways: int, keep: Path | None) -> AsyncIterator[Stack]:
    """Everything, answering. `keep`: where logs go in the end."""
    with _servers(folder) as (database, redis):
        url = database.url()
        made = Stack(folder, database, redis, url, open_stores(url, folder / "spool"))
        try:
            for _ in range(ENGINES):
                made.add_engine()
            made.keys |= {team: made.key(team) for team in ("free", "search", "pilot", "tiny")}
            for _ in range(gateways):
                made.add_gateway()
            for child in (*made.engines, *made.gateways):
                child.start()
            await asyncio.gather(*map(made.up, (*made.engines, *made.gateways)))
            yield made
        finally:
            made.stop()
            made.stores.database.dispose()
            if keep is not None:
                made.keep_logs(keep)
