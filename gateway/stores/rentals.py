"""What was paid for: each replica, from when until when, and at what price.

A gateway declares what its configuration says when it starts and when it reloads. Prices that a schedule announces are
written down at once, each with the moment at which it begins: they count then, whether a gateway runs or not.

The last declaration counts from its own moment on, whoever made it, and whatever a clock said before: what was declared
for later is replaced, what was paid until then stays. So rentals of a replica never overlap, and none ends before it
begins, on a clock that jumped too. Books that were closed for hours from that moment on are closed again.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.settings.gpu_price import GpuPrice
from gateway.stores.cost_lines import HOUR_S, STALE
from gateway.stores.database import RENTALS, REPLICA_HOURS
from gateway.stores.dialects import exclusively

log = logging.getLogger("tollgate")


class Rental(NamedTuple):
    """Paid for from `since` on and before `until` (seconds since the epoch; None: until something else is declared).

    `gateway` is the one that declared it.
    """

    replica: str
    since: float
    until: float | None
    pool: str
    gpus: int
    usd_per_gpu_hour: Decimal
    gateway: str

    @property
    def usd_per_hour(self) -> Decimal:
        """Of the whole replica."""
        return self.gpus * self.usd_per_gpu_hour

    def same(self, other: "Rental") -> bool:
        """Whether the same is paid for the same."""
        return self[3:6] == other[3:6]

    def __str__(self) -> str:
        return f"{self.gpus} GPUs at {self.usd_per_gpu_hour:f} USD an hour, declared by {self.gateway!r}"


class Conflict(NamedTuple):
    """At `at`, one gateway changed the price that another one had declared."""

    replica: str
    at: float
    before: Rental
    after: Rental


class Rentals:
    """Declarations in, rentals out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def declare(self, gateway: str, now: float, wanted: Mapping[str, tuple[str, GpuPrice]]) -> list[Conflict]:
        """From `now` on these replicas are paid for, each with its pool and its price, and no other one is.

        All of it or nothing. A replica at the same price goes on. Returns the prices that another gateway had declared
        and this one changed, which are logged too: gateways over one database should agree on what GPUs cost.
        """
        with self._engine.connect() as connection:
            if not any(True for _ in _changes(gateway, now, _running(connection, now), wanted)):
                return []
        with self._engine.begin() as connection:
            exclusively(connection)
            running = _running(connection, now)
            for replica, rentals in _changes(gateway, now, running, wanted):
                self._replace(connection, replica, now, rentals)
        return _told(gateway, now, running, wanted)

    def _replace(self, connection: sa.Connection, replica: str, now: float, rentals: Sequence[Rental]) -> None:
        stale = sa.or_(RENTALS.c.until.is_(None), RENTALS.c.until > now)
        connection.execute(RENTALS.delete().where(RENTALS.c.replica == replica, stale))
        if rentals:
            values = [{**each._asdict(), "usd_per_gpu_hour": format(each.usd_per_gpu_hour, "f")} for each in rentals]
            connection.execute(RENTALS.insert(), values)
        books = REPLICA_HOURS.c
        reached = sa.and_(books.replica == replica, books.hour >= int(now // HOUR_S))
        connection.execute(REPLICA_HOURS.update().where(reached).values(closed_at=STALE))

    def all(self) -> dict[str, list[Rental]]:
        """Every rental by its replica, those of a replica one after the other."""
        with self._engine.connect() as connection:
            return _by_replica(connection, sa.true())

    def conflicts(self, since: float = 0.0) -> list[Conflict]:
        """Changes of a price by another gateway than the one that had declared it, the oldest first."""
        found = [
            Conflict(replica, after.since, before, after)
            for replica, rentals in self.all().items()
            for before, after in pairwise(rentals)
            if before.until == after.since >= since
            and before.gateway != after.gateway
            and before[4:6] != after[4:6]
        ]  # fmt: skip
        return sorted(found, key=lambda each: (each.at, each.replica))


def _running(connection: sa.Connection, now: float) -> dict[str, list[Rental]]:
    """What is paid for now, or is to be later."""
    return _by_replica(connection, sa.or_(RENTALS.c.until.is_(None), RENTALS.c.until > now))


def _by_replica(connection: sa.Connection, where: sa.ColumnElement[bool]) -> dict[str, list[Rental]]:
    columns = [RENTALS.c[name] for name in Rental._fields]
    found: dict[str, list[Rental]] = {}
    for row in connection.execute(sa.select(*columns).where(where).order_by(RENTALS.c.replica, RENTALS.c.since)):
        rental = Rental(*row)
        found.setdefault(rental.replica, []).append(
            rental._replace(usd_per_gpu_hour=Decimal(rental.usd_per_gpu_hour))
        )  # fmt: skip
    return found


def _changes(
    gateway: str, now: float, running: Mapping[str, list[Rental]], wanted: Mapping[str, tuple[str, GpuPrice]]
) -> Iterator[tuple[str, list[Rental]]]:
    """Each replica for which something else is to be paid, with all its rentals that do not end before `now`."""
    for replica in sorted({*running, *wanted}):
        before, rentals = running.get(replica, []), list[Rental]()
        if replica in wanted:
            pool, price = wanted[replica]
            rentals = [
                Rental(replica, each.since, each.until, pool, price.gpus, each.usd_per_gpu_hour, gateway)
                for each in price.pieces(now)
            ]
        current = before[0] if before and before[0].since <= now else None
        if current is not None and rentals and current.same(rentals[0]):
            rentals[0] = current._replace(until=rentals[0].until)
        elif current is not None and current.since < now:
            rentals.insert(0, current._replace(until=now))
        if [each[:6] for each in rentals] != [each[:6] for each in before]:
            yield replica, rentals


def _told(
    gateway: str, now: float, running: Mapping[str, list[Rental]], wanted: Mapping[str, tuple[str, GpuPrice]]
) -> list[Conflict]:
    """What this declaration took from another gateway's, logged."""
    found = []
    for replica, rentals in running.items():
        before = rentals[0]
        if before.since > now or before.gateway == gateway:
            continue
        if replica not in wanted:
            log.warning("replica %r is paid for no more, says %r: until now %s", replica, gateway, before)
            continue
        pool, price = wanted[replica]
        piece = price.pieces(now)[0]
        after = Rental(replica, now, piece.until, pool, price.gpus, piece.usd_per_gpu_hour, gateway)
        if before[4:6] != after[4:6]:
            log.error(
                "two gateways, two prices of replica %r: until now %s; from now on %s. Give them the same `gpu`",
                replica, before, after,
            )  # fmt: skip
            found.append(Conflict(replica, now, before._replace(until=now), after))
    return found
