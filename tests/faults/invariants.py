"""What has to be true after every fault, once it is over and nothing is asked any more.

Exactly one row for each request that was admitted, counters at zero, no reservation that stays, all slots of a limit to
be had again, and no task, socket, thread or memory more than before.
"""

import asyncio
import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import redis as redis_client

from gateway.budgeting import MARGIN_S
from tests.faults.inside import FILE
from tests.faults.standing import SLOTS, TIMEOUTS, Fleet, Told
from tests.gateway.process import Gateway
from tests.polling import until

REFUSED = frozenset({"rate_limit_exceeded", "budget_exceeded", "budget_unavailable", "ledger_full"})
MB = 2**20
NANO = 10**9


class Size(NamedTuple):
    """What a process has."""

    tasks: int
    descriptors: int
    threads: int
    memory_mb: float


SLACK = Size(tasks=4, descriptors=64, threads=8, memory_mb=48)
"""What a gateway may have more of: connections that its pools keep, as many as requests ran at once and hence fewer
than it served meanwhile, and what Python keeps."""


async def size(gateway: Gateway) -> Size:
    """Of a process of `inside`."""
    proc = Path(f"/proc/{gateway.process.pid}")
    told = gateway.folder / FILE
    told.unlink(missing_ok=True)
    gateway.process.send_signal(signal.SIGUSR1)
    await until(told.exists)
    threads = re.search(r"^Threads:\s+(\d+)", (proc / "status").read_text(), re.MULTILINE)
    assert threads is not None
    pages = int((proc / "statm").read_text().split()[1])
    descriptors = len(list((proc / "fd").iterdir()))
    return Size(int(told.read_text()), descriptors, int(threads[1]), pages * os.sysconf("SC_PAGE_SIZE") / MB)


async def sizes(fleet: Fleet) -> dict[int, Size]:
    """By process id."""
    return {each.process.pid: await size(each) for each in fleet.gateways}


async def metrics(gateway: Gateway, name: str) -> float:
    """The sum of a metric over its labels."""
    page = (await gateway.get("/metrics")).body.decode()
    return sum(float(each) for each in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", page, re.MULTILINE))


async def nothing_is_left(fleet: Fleet, before: Mapping[int, Size], key: str) -> None:
    """All of it, for every fault. `key` is of the team that has `SLOTS`; `before` is what processes had when warm."""
    await all_slots(fleet, key)
    for gateway in fleet.gateways:
        await counters_at_zero(gateway)
    await until(lambda: {told.id for told in fleet.told if admitted(told)} <= rows(fleet).keys())
    one_row_each(fleet)
    try:
        await until(lambda: not reservations(fleet))
    except TimeoutError:
        raise AssertionError(f"stuck: {reservations(fleet)}") from None
    spent_once(fleet)
    await no_larger(fleet, before)


async def all_slots(fleet: Fleet, key: str) -> None:
    """What a limit has over all gateways can be had, at some gateway, and never more."""

    async def had() -> bool:
        told = await asyncio.gather(*(fleet.ask(fleet.gateways[0], key) for _ in range(SLOTS)))
        return {each.status for each in told} == {200}

    await until(had)


async def counters_at_zero(gateway: Gateway) -> None:
    """Nothing is open, in flight or late."""

    async def zero() -> bool:
        names = ("tollgate_open_requests", "tollgate_in_flight", "tollgate_ledger_lag_rows")
        return not any([await metrics(gateway, name) for name in names])

    await until(zero)


def rows(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """By request id, which is the table's key; without those of probes."""
    found = {row["request_id"]: row for row in fleet.stores.ledger.recent(100_000)}
    return {name: row for name, row in found.items() if row["purpose"] != "probe"}


def admitted(told: Told) -> bool:
    """Whether a request was, by what its client was told."""
    known = told.id is not None and told.status != 401
    return known and (told.status == 200 or told.code not in REFUSED)


def one_row_each(fleet: Fleet) -> None:
    """A row for who was admitted, with the end that its client saw, and none for who was refused."""
    found = rows(fleet)
    for told in fleet.told:
        assert told.id is None or (told.id in found) == admitted(told), told
        if admitted(told) and told.answer is not None and told.answer.whole:
            assert found[str(told.id)]["outcome"] == (told.code or "completed"), (told, found[str(told.id)])
    unknown = found.keys() - {told.id for told in fleet.told}
    unseen = sum(told.id is None for told in fleet.told)
    assert len(unknown) <= unseen, "a row for a request that nobody made"


def counters(fleet: Fleet) -> dict[str, dict[bytes, bytes]]:
    """The budgets' counters as Redis has them."""
    with redis_client.Redis.from_url(fleet.redis.url) as client:
        names = [name for name in client.scan_iter("{tollgate}:budget:*") if not name.endswith(b":leases")]
        return {name.decode(): client.hgetall(name) for name in names}


def reservations(fleet: Fleet) -> Sequence[object]:
    """Leases that nobody ends: none after a fault, and of a gateway that was killed none that time does not end."""
    latest = time.time() + TIMEOUTS["total"] + TIMEOUTS["client"] + MARGIN_S
    with redis_client.Redis.from_url(fleet.redis.url) as client:
        leases = [
            lease
            for name in client.scan_iter("{tollgate}:budget:*:leases")
            for lease in client.zrange(name, 0, -1, withscores=True)
            if not lease[0].startswith(b"!")
        ]
    if fleet.killed:
        return [lease for lease in leases if lease[1] / 1000 > latest]
    return [*leases, *(found for found in counters(fleet).values() if int(found[b"r"]))]


def spent_once(fleet: Fleet) -> None:
    """What the counters say is spent is what the ledger says, to the billionth.

    More only where a death or a timeout hid a cost: then the reservation is charged."""
    spent = sum(int(found[b"s"]) for found in counters(fleet).values())
    costs = [row["cost"] for row in rows(fleet).values() if row["team"] == "pilot"]
    booked = int(sum((cost for cost in costs if cost is not None), Decimal(0)) * NANO)
    known = not fleet.killed and None not in costs
    assert spent == booked if known else spent >= booked, (spent, booked)


async def no_larger(fleet: Fleet, before: Mapping[int, Size]) -> None:
    """Tasks, descriptors, threads and memory are what they were."""
    for gateway in fleet.gateways:
        was = before.get(gateway.process.pid)
        if was is None:
            continue
        most = [old + slack for old, slack in zip(was, SLACK, strict=True)]

        async def small(gateway: Gateway = gateway, most: Sequence[float] = most) -> bool:
            now = await size(gateway)
            return all(value <= limit for value, limit in zip(now, most, strict=True))

        try:
            await until(small)
        except TimeoutError:
            raise AssertionError(f"before {was}, now {await size(gateway)}") from None
