"""Budgets: which of them a request falls under, their windows, and what a counter has room for.

A counter counts one budget, of one key or team where it has `each`, in one window. Its amounts are whole nano of the
currency:

    spent      what ended requests cost
    reserved   what those that run may cost at most
    room       limit - spent - reserved

A reservation takes its amount of the room of all of a request's counters or of none; the settlement puts what the
request did cost in its place, exactly once. One that nobody settles ends with its lease.

A request belongs to the window in which it starts, by the clock that dates its row in the ledger. A clock that steps
back over an edge meets the counter of the former window again, as it was left: nothing is spent twice, and nothing is
forgotten. A model's budget counts what was asked of that model, whoever answered, at the price of whoever did.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from gateway.config import Deployment
from gateway.contracts.errors import BudgetExceeded
from gateway.policy.auth import Principal
from gateway.policy.ceilings import NANO, Ceiling, Rate, bound, ceilings
from gateway.policy.shapes import Request
from gateway.settings.budgets import BudgetConfig, Money, Per

PLANS = 100_000
"""Keys and models whose budgets are remembered: they are worked out anew after so many."""
SOON_S = 2
"""When to ask again where running requests hold what is left: they end one after the other."""
WARNED_MOST = 10**15
"""Nano that a request holds at most of a budget that only warns, so that any number of them can be added."""
SETTLED_LATE_S = 86_400.0
"""How long a counter outlives its window: requests that began in it still run, and clocks step back."""


@lru_cache(maxsize=1024)
def _edges(per: Per, zone: str, day: int) -> tuple[float, float]:
    """The window that holds a local day (its ordinal)."""
    first = datetime.fromordinal(day)
    if per == "day":
        last = first + timedelta(days=1)
    elif per == "week":
        first -= timedelta(days=first.weekday())
        last = first + timedelta(days=7)
    else:
        first = first.replace(day=1)
        last = (first + timedelta(days=32)).replace(day=1)
    where = ZoneInfo(zone)
    return first.replace(tzinfo=where).timestamp(), last.replace(tzinfo=where).timestamp()


def window(per: Per, zone: str, now: float) -> tuple[float, float]:
    """(from, until) of the window of a moment, in seconds since the epoch; `until` belongs to the next one.

    Wall time: where clocks go forward a day has 23 hours. A day whose midnight is skipped begins with its first moment.
    """
    if per == "total":
        return 0.0, math.inf
    day = datetime.fromtimestamp(math.floor(now), UTC).astimezone(ZoneInfo(zone)).toordinal()
    edges = _edges(per, zone, day)
    return edges if now < edges[1] else _edges(per, zone, day + 1)  # a midnight that comes twice counts the first time


class Counter(msgspec.Struct, frozen=True, gc=False):
    """One budget, of one subject, in one window. `id` is the same for all who count it.

    `team`, `key` and `model` are what rows of the ledger must match to be counted; None: any.
    """

    id: str
    budget: str
    limit: int
    money: Money
    since: float
    until: float
    hard: bool
    alerts: tuple[Decimal, ...] = ()
    team: str | None = None
    key: str | None = None
    model: str | None = None

    @property
    def keep_until(self) -> float:
        """When it may be forgotten."""
        return self.until + SETTLED_LATE_S


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What a request takes of a counter at most: `amount` of its `limit`; refused for lack of room only when `hard`."""

    counter: str
    limit: int
    amount: int
    hard: bool = True


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What a request held of a counter, and what it did cost."""

    counter: str
    held: int
    cost: int


class Standing(msgspec.Struct, gc=False):
    """A counter's amounts. `corrected` is what the ledger's truth adds to what requests were charged."""

    spent: int = 0
    reserved: int = 0
    corrected: int = 0

    @property
    def total(self) -> int:
        """What is spent, as far as it is known."""
        return self.spent + self.corrected

    def room(self, limit: int) -> int:
        """What is left for another request; below zero where a budget was exceeded, or made smaller."""
        return limit - self.spent - self.corrected - self.reserved

    def reserve(self, amount: int) -> None:
        """A request begins."""
        self.reserved += amount

    def settle(self, held: int, cost: int) -> None:
        """It has ended; `held` is 0 where its lease had run out before."""
        self.reserved -= held
        self.spent += cost


class Short(msgspec.Struct, frozen=True, gc=False):
    """A claim, by its position, for which a counter has no room, and how the counter stands."""

    at: int
    spent: int
    reserved: int


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a reservation. `taken`: it holds. `short` are the claims without room, which refused it when it
    was not taken; `unknown` the positions of counters that have to be loaded first."""

    taken: bool
    short: tuple[Short, ...] = ()
    unknown: tuple[int, ...] = ()


TAKEN = Outcome(True)


class Plan(msgspec.Struct):
    """The counters of one key and model, and until when they are those."""

    counters: tuple[Counter, ...]
    since: float
    until: float


class Budgets:
    """The budgets of one configuration. `ceilings` by model; `contexts` maps a model to the most tokens that a request
    can have on any of its replicas, None where one has not told. `rates` are those of pools."""

    def __init__(
        self,
        configs: Mapping[str, BudgetConfig],
        ceilings: Mapping[str, Ceiling],
        currency: str = "USD",
        rates: Mapping[str, Rate] = {},
    ) -> None:
        self.configs, self.ceilings, self.currency, self.rates = configs, ceilings, currency, rates
        self.contexts: Mapping[str, int | None] = {}
        self._marks = {name: _mark(config, currency) for name, config in configs.items()}
        self._plans: dict[tuple[str, str, str], Plan] = {}

    def plan(self, principal: Principal, model: str, now: float) -> tuple[Counter, ...]:
        """The counters of a request, in the order of the configuration."""
        known = (principal.key_id, principal.team, model)
        plan = self._plans.get(known)
        if plan is None or not plan.since <= now < plan.until:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[known] = self._planned(*known, now)
        return plan.counters

    def standing(self, now: float) -> list[Counter]:
        """The counters of the budgets that are one for all who match: those that are known before anybody asks."""
        return [self._counter(name, each, "", now) for name, each in self.configs.items() if each.each is None]

    def of(self, name: str, subject: str, now: float) -> Counter:
        """The counter of a budget, for one key or team where it has `each`."""
        return self._counter(name, self.configs[name], subject, now)

    def all_of(self, name: str, now: float) -> Counter:
        """One that matches what is counted by all the counters of a budget together."""
        return self._counter(name, self.configs[name].model_copy(update={"each": None}), "", now)

    def _planned(self, key: str, team: str, model: str, now: float) -> Plan:
        found = []
        for name, config in self.configs.items():
            if config.team in (None, team) and config.key in (None, key) and config.model in (None, model):
                subject = {"key": key, "team": team, None: ""}[config.each]
                found.append(self._counter(name, config, subject, now))
        since, until = (
            max((each.since for each in found), default=0.0),
            min((each.until for each in found), default=math.inf),
        )
        return Plan(tuple(found), since, until)

    def _counter(self, name: str, config: BudgetConfig, subject: str, now: float) -> Counter:
        since, until = window(config.per, config.timezone, now)
        return Counter(
            id=f"{name}:{self._marks[name]}:{int(since)}:{subject}",
            budget=name,
            limit=int(config.amount * NANO),
            money=config.money,
            since=since,
            until=until,
            hard=config.on_exceeded == "refuse",
            alerts=tuple(sorted(config.alerts)),
            team=subject if config.each == "team" else config.team,
            key=subject if config.each == "key" else config.key,
            model=config.model,
        )

    def claims(self, counters: Sequence[Counter], model: str, request: Request, most: int) -> list[Claim]:
        """What a request takes of its counters at most; `most` tokens where nothing bounds them."""
        ceiling = self.ceilings[model]
        tokens = bound(request, ceiling.system, ceiling.sampled, self.contexts.get(model), most)
        listed = rented = -1
        claims = []
        for each in counters:
            if each.money == "list":
                amount = listed = ceiling.listed(tokens) if listed < 0 else listed
            else:
                amount = rented = ceiling.rented(tokens) if rented < 0 else rented
            claims.append(Claim(each.id, each.limit, amount if each.hard else min(amount, WARNED_MOST), each.hard))
        return claims


def compiled(deployment: Deployment, rates: Mapping[str, Rate]) -> Budgets | None:
    """The budgets of a deployment; `rates` are those of the pools whose GPUs have a price. None: it has no budgets."""
    configs = deployment.config.budgets
    if not configs:
        return None
    return Budgets(configs, ceilings(deployment, rates), deployment.prices.currency, rates)


def _mark(config: BudgetConfig, currency: str) -> str:
    """What a counter counts: a budget that is about something else from now on does not go on with the old sums."""
    parts = (config.team, config.key, config.model, config.each, config.per, config.money, config.timezone, currency)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def refusal(counter: Counter, amount: int, short: Standing, now: float, currency: str) -> BudgetExceeded:
    """Why a claim is refused, and what its client can do."""
    left = max(0, counter.limit - short.total)
    named = f"the budget {counter.budget!r}"
    told = f"this request may cost up to {money(amount)} {currency}, and {named} has {money(left)} left"
    hint, resets = "lower `max_tokens`, or ask for a larger budget", moment(counter.until)
    wait, passes = None, False
    if short.reserved and amount <= left:
        told += (
            f", of which running requests hold {money(short.reserved)}: ask again in {SOON_S} s, some will have ended"
        )
        wait, passes = SOON_S, True
    elif amount > counter.limit:
        told += f" of {money(counter.limit)}: it can never pass; {hint}"
    elif math.isinf(counter.until):
        told += f" of {money(counter.limit)}, and does not reset: {hint}"
    else:
        told += f" of {money(counter.limit)}: it resets at {resets}; until then {hint}"
        wait = max(1, math.ceil(counter.until - now))
    error = BudgetExceeded(told, retry_after=wait)
    error.budget, error.left, error.resets, error.passes = counter.budget, f"{Decimal(left) / NANO:f}", resets, passes
    return error


def money(nano: int) -> str:
    """An amount for people: as many places as it needs, two at least."""
    text = f"{Decimal(nano) / NANO:f}"
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def moment(seconds: float) -> str:
    """A moment in ISO 8601, UTC; `never` for none."""
    return "never" if math.isinf(seconds) else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
