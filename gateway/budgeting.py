"""Budgets on the way of a request: what it may cost is claimed before it is admitted, what it did cost is settled.

    counters of the key and model → bound of the cost → reserve (all or none) → … → settle

A counter that nobody has loaded begins with what the ledger says. A request whose cost nobody knows, although an engine
worked on it, is charged what was reserved: the ledger's row has no cost, and counts for nothing once the counter is
loaded anew. One that the engine refused, or none has seen, costs nothing. GPU money is charged by an estimate
(`ceilings.Rate.share`), which is made true when the hour is closed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Literal, Protocol

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from gateway.client import Client
from gateway.config import Timeouts
from gateway.contracts.errors import BudgetExceeded, BudgetUnavailable
from gateway.contracts.ledger import LedgerRow
from gateway.policy.accounting import COSTLESS, Account
from gateway.policy.auth import Principal
from gateway.policy.budgets import Budgets, Charge, Claim, Counter, Outcome, Standing, money, refusal
from gateway.policy.ceilings import NANO
from gateway.policy.estimate import Demand
from gateway.policy.shapes import Request
from gateway.server.head import line
from gateway.stores.budget_book import Book, BookAway, OnSpent
from gateway.stores.spend import Spend
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream

WATCH_S = 30.0
"""Between two looks at how counters stand, and at what closed hours say of GPU money."""
MARGIN_S = 60.0
"""What a lease lasts beyond the time that a request may take."""
AGAIN_S = 1
"""When to ask again where budgets cannot be asked for."""

log = logging.getLogger("tollgate")


class Asking(Protocol):
    """What is read of a request, and where its client is told something: `relay.Exchange`."""

    client: Client
    principal: Principal
    request: Request
    account: Account
    demand: Demand
    timeouts: Timeouts
    lines: bytes


class Lease(msgspec.Struct, eq=False, gc=False):
    """What one request holds, until it is settled. `held` is False where it was let through without being counted."""

    id: str
    budgets: Budgets
    counters: Sequence[Counter]
    claims: Sequence[Claim]
    held: bool = True
    open: bool = True


class Budgeting:
    """All counters of one gateway, over reloads. `drained` waits until every settled row is in the database."""

    def __init__(
        self,
        book: Callable[[OnSpent], Book],
        spend: Spend,
        telemetry: Telemetry,
        clock: Callable[[], float],
        drained: Callable[[], Awaitable[None]],
        when_away: Literal["refuse", "allow"] = "refuse",
    ) -> None:
        self.book = book(self._spent)
        self._spend, self._telemetry, self._clock, self._drained = spend, telemetry, clock, drained
        self._when_away = when_away
        self._known: dict[str, Counter] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}

    async def claim(self, budgets: Budgets | None, asked: Asking) -> Lease | None:
        """Reserve what a request may cost at most. None: it falls under no budget. Settle it exactly once.

        Raises BudgetExceeded, of which the client is told in headers too, or BudgetUnavailable.
        """
        if budgets is None:
            return None
        row = asked.account.admitted
        counters = budgets.plan(asked.principal, row.model, row.started_at)
        if not counters:
            return None
        claims = budgets.claims(counters, row.model, asked.request, asked.demand.most)
        lease = Lease(row.request_id, budgets, counters, claims)
        seconds = asked.timeouts.total + asked.timeouts.client + MARGIN_S
        try:
            outcome = await self.book.reserve(lease.id, claims, seconds)
            if outcome.unknown:
                outcome = await self._loaded(lease, outcome, seconds)
        except BookAway as error:
            return self._away(lease, error)
        if outcome.short:
            if not outcome.taken:
                refused = self._refused(lease, outcome, row.started_at)
                asked.client.lines += told(refused)
                raise refused
            lines = self._warned(lease, outcome)
            asked.client.lines += lines
            asked.lines += lines
        return lease

    async def _loaded(self, lease: Lease, outcome: Outcome, seconds: float) -> Outcome:
        """Load what is not known, and reserve. Raises BookAway."""
        for _ in range(3):  # a Redis that just lost its memory may lose it again
            for at in outcome.unknown:
                counter = lease.counters[at]
                task = self._loading.get(counter.id)
                if task is None:
                    task = self._loading[counter.id] = asyncio.create_task(self._load(counter, lease.budgets.currency))
                    task.add_done_callback(partial(self._over, counter.id))
                await asyncio.shield(task)  # others wait for it too
            outcome = await self.book.reserve(lease.id, lease.claims, seconds)
            if not outcome.unknown:
                return outcome
        raise BookAway("the counters of budgets do not stay where they are written")

    def _over(self, name: str, task: asyncio.Task[None]) -> None:
        del self._loading[name]
        if not task.cancelled():
            task.exception()  # whoever waits has heard of it

    async def _load(self, counter: Counter, currency: str) -> None:
        try:
            await self._drained()
            at = self._clock()
            spent = await asyncio.to_thread(self._spend.spent, counter, currency)
        except (SQLAlchemyError, OSError) as error:
            raise BookAway("the ledger, in which they begin, is away") from error
        await self.book.load(counter.id, spent, at, counter.keep_until)
        self._known[counter.id] = counter

    def _away(self, lease: Lease, error: BookAway) -> Lease:
        hard = [counter for counter in lease.counters if counter.hard]
        for counter in lease.counters:
            self._telemetry.budget_unknown.labels(counter.budget).inc()
        if self._when_away == "refuse" and hard:
            named = ", ".join(repr(counter.budget) for counter in hard)
            raise BudgetUnavailable(
                f"what is left of the budgets {named} cannot be told now ({error}): ask again in {AGAIN_S} s",
                retry_after=AGAIN_S,
            )
        lease.held = False
        return lease

    def _warned(self, lease: Lease, outcome: Outcome) -> bytes:
        """The header lines of budgets that only warn."""
        lines = b""
        for short in outcome.short:
            name = lease.counters[short.at].budget
            self._telemetry.budget_warnings.labels(name).inc()
            lines += line(b"x-tollgate-warning", f"over the budget {name}".encode())
        return lines

    def _refused(self, lease: Lease, outcome: Outcome, now: float) -> BudgetExceeded:
        """The refusal by the budget that takes longest to have room."""
        refused = []
        for short in outcome.short:
            counter, amount = lease.counters[short.at], lease.claims[short.at].amount
            if counter.hard:
                standing = Standing(short.spent, short.reserved)
                refused.append(refusal(counter, amount, standing, now, lease.budgets.currency))
        error = max(refused, key=lambda each: (not each.passes, each.retry_after is None, each.retry_after or 0))
        self._telemetry.budget_refusals.labels(error.budget).inc()
        return error

    def release(self, lease: Lease | None) -> None:
        """It was not admitted."""
        if lease is not None and lease.open:
            lease.open = False
            self.book.settle(lease.id, [Charge(claim.counter, claim.amount, 0) for claim in lease.claims])

    def settle(self, lease: Lease | None, row: LedgerRow, account: Account, replicas: Sequence[Upstream]) -> LedgerRow:
        """The request is over; only the first time counts. Returns its row, with the estimate that it was charged.

        `replicas` are those of the pool that answered.
        """
        if lease is None or not lease.open:
            return row
        lease.open = False
        charges, estimate = [], None
        for counter, claim in zip(lease.counters, lease.claims, strict=True):
            if counter.money == "list":
                cost = _unknown(row, claim) if row.cost is None else int(Decimal(row.cost).scaleb(9))
            else:
                if estimate is None:
                    estimate = self._estimated(lease, claim, row, account, replicas)
                cost = estimate
            charges.append(Charge(counter.id, claim.amount if lease.held else 0, cost))
            if self._known.get(counter.id) is not counter:
                self._known[counter.id] = counter
        self.book.settle(lease.id, charges)
        if estimate is None:
            return row
        return msgspec.structs.replace(row, gpu_estimate=f"{Decimal(estimate).scaleb(-9):f}")

    def _estimated(
        self, lease: Lease, claim: Claim, row: LedgerRow, account: Account, replicas: Sequence[Upstream]
    ) -> int:
        rate, usage = lease.budgets.rates.get(account.release.pool), account.usage
        if usage is None:
            return _unknown(row, claim)
        if rate is None:
            return 0  # no GPU of ours has answered
        return rate.share(usage, 1 + sum(each.in_flight for each in replicas if each.name == row.replica))

    def _spent(self, name: str, before: int, after: int) -> None:
        """Tell, once, when a counter's spending goes over one of its thresholds."""
        counter = self._known.get(name)
        if counter is None or not counter.alerts:
            return
        for part in counter.alerts:
            if before < part * counter.limit <= after:
                self._telemetry.budget_alerts.labels(counter.budget, f"{part:f}").inc()
                whose = counter.key or counter.team or counter.model
                log.warning(
                    "budget %r: %s of %s are spent, more than %g %% (%s)",
                    counter.budget, money(after), money(counter.limit), float(part * 100), whose,
                )  # fmt: skip

    async def prepare(self, budgets: Budgets | None) -> None:
        """Load the counters that are known before anybody asks, so that the first request does not wait for it."""
        if budgets is None:
            return
        for counter in [each for each in budgets.standing(self._clock()) if each.id not in self._known]:
            try:
                await self._load(counter, budgets.currency)
            except BookAway as error:
                log.error("budget %r is loaded when it is needed: %s", counter.budget, error)

    async def watch(self, budgets: Budgets | None) -> None:
        """One round of the loop: the truth about GPU money, and the gauges. Raises what the database raises."""
        self._known = _counting(budgets, self._known.values(), self._clock())
        await self.prepare(budgets)
        known, told = list(self._known.values()), dict[str, tuple[float, float]]()
        try:
            standings = await self.book.standings([each.id for each in known]) if known else []
            for counter, found in zip(known, standings, strict=True):
                if found is None:
                    continue
                standing, at = found
                if counter.money == "gpu":
                    corrected = await asyncio.to_thread(self._spend.corrected, counter, at)
                    if corrected != standing.corrected:
                        await self.book.correct(counter.id, corrected)
                        standing.corrected = corrected
                part, left = standing.total / counter.limit, (counter.limit - standing.total) / int(NANO)
                former = told.get(counter.budget, (part, left))
                told[counter.budget] = max(former[0], part), min(former[1], left)
        except BookAway as error:
            log.warning("budgets are not looked at: %s", error)
            return
        self._telemetry.budgets("" if budgets is None else budgets.currency, told)

    async def close(self) -> None:
        """Write what is settled."""
        await self.book.close()


def _counting(budgets: Budgets | None, known: Iterable[Counter], now: float) -> dict[str, Counter]:
    """Those of the counters that count now, as these budgets have them."""
    found = dict[str, Counter]()
    for counter in known:
        if budgets is not None and (config := budgets.configs.get(counter.budget)) is not None:
            subject = {"key": counter.key, "team": counter.team, None: None}[config.each] or ""
            current = budgets.of(counter.budget, subject, now)
            if current.id == counter.id:
                found[current.id] = current
    return found


def _unknown(row: LedgerRow, claim: Claim) -> int:
    """What is charged where nobody knows the cost: what was reserved, unless no engine has generated anything."""
    return 0 if row.attempts == 0 or row.outcome in COSTLESS else claim.amount


def told(error: BudgetExceeded) -> bytes:
    """The header lines of a refusal."""
    lines = line(b"x-tollgate-budget", error.budget.encode()) + line(
        b"x-tollgate-budget-remaining", error.left.encode()
    )
    return lines + line(b"x-tollgate-budget-reset", error.resets.encode())
