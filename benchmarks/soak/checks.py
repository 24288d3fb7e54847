"""What must hold whenever a soak is quiet: every answer has its one row, every counter is zero, nothing is kept."""

import asyncio
import re
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

import redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.soak.load import CHAT, Load, Seen
from benchmarks.soak.processes import Child, Taken
from benchmarks.soak.stack import AWAY, BUDGETS, PILOT, SLOTS, Stack
from gateway.contracts.ledger import COMPLETED, GATEWAY_LOST
from gateway.policy.budgets import Budgets
from gateway.stores.database import LEDGER
from tests.engine import raw

PATIENCE_S = 45.0
"""Leases of requests whose gateway was killed end with `timeouts.total`."""
ADMITTED = {"upstream_failed", "upstream_timeout", "internal_error", "gateway_failed"}
"""Codes that only an admitted request is answered with."""
ZERO = ("open_requests", "in_flight", "queue_depth", "ledger_lag_rows")
DEFECT = re.compile(r"Traceback|a defect of the gateway|the application failed|never retrieved|was never awaited")


@dataclass(frozen=True)
class Quiet:
    """One quiet point. `took_s`: until all held. `taken` by gateway; `wrong`: what did not come to hold; `waited`: what
    held last.
    """

    at_s: float
    took_s: float
    requests: int
    rows: int
    lost: int
    open: int
    reserved: int
    taken: dict[str, Taken]
    starts: dict[str, int]
    wrong: list[str] = field(default_factory=list)
    waited: list[str] = field(default_factory=list)


@dataclass
class Checks:
    """`since`: the clock's time from which on the next look reads the ledger, in seconds since the epoch."""

    stack: Stack
    load: Load
    began: float
    since: float
    rows: int = 0
    lost: int = 0
    open: int = 0
    reserved: int = 0
    read: dict[str, int] = field(default_factory=dict)
    compared: list[str] = field(default_factory=list)
    asked_from: float = 0.0

    async def quiet(self) -> Quiet:
        """Wait until all holds; what does not within a while is wrong."""
        began = time.monotonic()
        wrong = await self._look()
        waited: list[str] = []
        while wrong and time.monotonic() < began + PATIENCE_S:
            waited = wrong
            await asyncio.sleep(0.25)
            wrong = await self._look()
        wrong += self._defects()
        wrong += [f"nobody answered {each}" for each in self.load.hung]
        self.load.hung.clear()
        if self.load.twice:
            wrong.append(f"request ids that two answers had: {self.load.twice[:5]}")
        self._forget()
        return Quiet(
            at_s=began - self.began,
            took_s=time.monotonic() - began,
            requests=self.load.sent,
            rows=self.rows,
            lost=self.lost,
            open=self.open,
            reserved=self.reserved,
            taken={each.name: found for each in self.stack.gateways if (found := each.taken()) is not None},
            starts={each.name: each.starts for each in self.stack.gateways},
            wrong=wrong,
            waited=waited,
        )

    async def _look(self) -> list[str]:
        wrong: list[str] = []
        self.open, self.asked_from = 0, time.time()
        self.compared = list(self.load.seen)  # what is asked now is compared at the next look
        for gateway in self.stack.gateways:
            wrong += await self._gateway(gateway)
        for engine in self.stack.engines:
            running = await value(engine, "vllm:num_requests_running")
            if running != 0:
                wrong.append(f"{engine.name}: {running} requests run in the engine")
        try:
            wrong += await asyncio.to_thread(self._ledger)
            wrong += await asyncio.to_thread(self._budgets)
        except (SQLAlchemyError, redis.RedisError) as error:
            return [*wrong, f"cannot be read: {error}"]
        return wrong or await self._slots()

    async def _gateway(self, gateway: Child) -> list[str]:
        wrong = []
        for name in ZERO:
            found = await metric(gateway, name)
            self.open += int(found or 0) if name == "open_requests" else 0
            if found != 0:
                wrong.append(f"{gateway.name}: {name} is {found}")
        if await metric(gateway, "limits_shared") != 1:
            wrong.append(f"{gateway.name}: limits are not shared")
        try:
            async with asyncio.timeout(10):
                if (await raw.exchange(gateway.url, "GET", "/ready")).status != 200:
                    wrong.append(f"{gateway.name}: it is not ready")
                answer = await self.load.ask(gateway.url, self.stack.keys["free"], CHAT, stream=False)
                if answer is None or answer.header("x-tollgate-release") != self.stack.release:
                    wrong.append(f"{gateway.name}: {self.stack.release} was promoted, and it does not serve it")
                for key in self.stack.gone[-3:]:
                    answer = await self.load.ask(gateway.url, key, CHAT, stream=False)
                    if answer is None or answer.status != 401:
                        wrong.append(f"{gateway.name}: a revoked key is served")
        except AWAY as error:
            wrong.append(f"{gateway.name}: {error!r}")
        return wrong

    async def _slots(self) -> list[str]:
        """As many requests at once as the team may have: a slot that nobody gives back would show."""
        urls = [self.stack.gateways[number % len(self.stack.gateways)].url for number in range(SLOTS)]
        key = self.stack.keys["search"]
        asked: Sequence[Awaitable[raw.Answer | None]] = [
            self.load.ask(url, key, CHAT, stream=True, words=60) for url in urls
        ]
        found = await asyncio.gather(*asked, return_exceptions=True)
        statuses = [each.status if isinstance(each, raw.Answer) else None for each in found]
        return [] if statuses == [200] * SLOTS else [f"of {SLOTS} slots not all are there: {statuses}"]

    def _budgets(self) -> list[str]:
        """Reservations that are left. Those of which a dead gateway did not say that they are over end by themselves,
        and no other may be. What a request takes is reserved under its id.
        """
        self.reserved, wrong = 0, []
        with redis.Redis.from_url(self.stack.redis.url, socket_timeout=5, decode_responses=True) as client:
            for counter in Budgets(BUDGETS, {}).standing(time.time()):
                name = f"{{{self.stack.book.prefix}}}:budget:{counter.id}"
                held = int(client.hget(name, "r") or 0)
                members = [str(each) for each in client.zrange(f"{name}:leases", 0, -1)]
                # Those that begin with `!` were given up, and hold nothing.
                leases = dict(each.split("|") for each in members if not each.startswith("!"))
                self.reserved += held
                if held != sum(map(int, leases.values())):
                    wrong.append(f"{counter.budget}: {held} nano are reserved, and the leases are {leases}")
                wrong += [f"{counter.budget}: {said}" for said in self._kept(leases)]
        return wrong

    def _kept(self, leases: dict[str, str]) -> list[str]:
        """Leases of requests that ended in order, since a gateway died that may not have said so."""
        row = LEDGER.c
        died_at = max(each.started_at for each in self.stack.gateways)
        ended = sa.select(row.request_id, row.outcome).where(
            row.request_id.in_(leases), row.outcome != GATEWAY_LOST, row.started_at > died_at
        )
        with self.stack.stores.database.connect() as connection:
            return [f"{name} is {outcome} and has a lease yet" for name, outcome in connection.execute(ended)]

    def _ledger(self) -> list[str]:
        row = LEDGER.c
        with self.stack.stores.database.connect() as connection:
            found = connection.execute(
                sa.select(row.request_id, row.outcome).where(row.started_at >= self.since, row.purpose == "serve")
            ).all()
            self.rows = connection.scalar(sa.select(sa.func.count()).where(row.purpose == "serve")) or 0
            lost = sa.select(sa.func.count()).where(row.outcome == GATEWAY_LOST)
            self.lost = connection.scalar(lost) or 0
            spent = sa.select(sa.func.sum(row.cost_nano)).where(row.team == "pilot")
            pilot = connection.scalar(spent) or 0
        outcomes: dict[str, str] = {each.request_id: each.outcome for each in found}
        wrong = [said for name in self.compared if (said := disagree(name, self.load.seen[name], outcomes))]
        if self.rows > self.load.sent:
            wrong.append(f"{self.rows} rows of {self.load.sent} requests")
        if pilot > PILOT.scaleb(9):
            wrong.append(f"the budget of {PILOT} is overspent: {pilot} nano")
        return wrong[:10]

    def _defects(self) -> list[str]:
        """What gateways have logged since the last look that they never should."""
        wrong = []
        for gateway in self.stack.gateways:
            text = gateway.log.read_text(errors="replace")
            new = text[self.read.get(gateway.name, 0) :]
            self.read[gateway.name] = len(text)
            if found := DEFECT.search(new):
                wrong.append(f"{gateway.name} logged: …{new[max(0, found.start() - 200) : found.end() + 1500]}…")
        return wrong

    def _forget(self) -> None:
        """What was compared with the ledger is not compared again."""
        self.since = self.asked_from - 1.0
        for name in self.compared:
            del self.load.seen[name]
        self.load.twice.clear()
        del self.stack.gone[:-3]


def disagree(request_id: str, seen: Seen, outcomes: dict[str, str]) -> str | None:
    """What is wrong between an answer and the ledger, if anything."""
    outcome = outcomes.get(request_id)
    admitted = seen.status == 200 or seen.code in ADMITTED
    if outcome is None:
        return f"{request_id} was answered ({seen.word}), and has no row" if admitted else None
    if seen.left or not (seen.whole or seen.code):
        return None
    if seen.status == 200 and seen.whole and seen.code is None and outcome != COMPLETED:
        return f"{request_id} was answered whole, and its row says {outcome}"
    if seen.status != 200 and outcome == COMPLETED:
        return f"{request_id} was answered {seen.word}, and its row says {outcome}"
    return None


async def metric(gateway: Child, name: str) -> float | None:
    """The sum of a gateway's metric over its labels; None where it does not answer."""
    return await value(gateway, f"tollgate_{name}")


async def value(child: Child, name: str) -> float | None:
    """The same of any process with a page of metrics."""
    try:
        async with asyncio.timeout(5):
            page = (await raw.exchange(child.url, "GET", "/metrics")).body.decode()
    except AWAY:
        return None
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)
    return sum(map(float, found)) if found else None
