"""The laws of the way of one request on real sockets: every API with a stream, faults, clients that leave."""

import asyncio
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Timeouts
from gateway.contracts.ledger import CLIENT_CLOSED, COMPLETED, OUTCOMES, LedgerRow
from tests.engine import raw
from tests.engine.simulator import Engine, Fault
from tests.gateway.serving import Gateway, deployment, serving

FAULTS = (
    "refuse", "error", "error_200_flat", "error_200_nested", "close", "reset", "half_close", "stall", "garbage",
    "garbage_json", "error_event", "wrong_length", "no_usage", "no_done", "hangup", "ping", "split", "coalesce",
)  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "{} two three"}]},
    "/v1/completions": {"prompt": "{} two three"},
    "/v1/responses": {"input": "{} two three"},
    "/v1/messages": {"messages": [{"role": "user", "content": "{} two three"}], "max_tokens": 9},
}
COUNT = 60


@dataclass
class Visit:
    """One client's part: what strikes its request, and after how many pieces it leaves (None: it stays)."""

    path: str
    stream: bool
    fault: Fault | None
    leaves: int | None
    answer: raw.Answer | None = None


def _visits(draw: random.Random) -> list[Visit]:
    visits = []
    for number in range(COUNT):
        after = draw.choice((None, 0, 1, 2, 3))
        kind: Any = draw.choice(FAULTS)
        fault = Fault(kind, times=0, after=after, match=f"n{number}x") if draw.random() < 0.6 else None
        leaves = draw.randrange(4) if draw.random() < 0.3 else None
        visits.append(Visit(draw.choice(list(BODIES)), draw.random() < 0.6, fault, leaves))
    return visits


async def _play(gateway: Gateway, key: str, number: int, visit: Visit) -> None:
    body = json.dumps(BODIES[visit.path] | {"model": "faq", "stream": visit.stream}).replace("{}", f"n{number}x")
    async with raw.connect(gateway.url) as client:
        await client.send("POST", visit.path, body.encode(), {"authorization": f"Bearer {key}"})
        if visit.leaves is None:
            visit.answer = await client.answer()
            return
        head = await client.head()
        for _ in range(visit.leaves if head.header("transfer-encoding") else 0):
            if not await client.chunk():
                break


@pytest.mark.parametrize("seed", range(4))
async def test_laws_hold_on_sockets(tmp_path: Path, seed: int) -> None:
    visits = _visits(random.Random(seed))
    timeouts = Timeouts(first_byte=1.0, idle=1.0, total=2.0)
    async with Engine() as one, Engine() as other:
        for each in (one, other):
            each.faults.extend(visit.fault for visit in visits if visit.fault is not None)
        async with serving(deployment({"main": [one.url, other.url]}, timeouts=timeouts), tmp_path) as (
            gateway,
            key,
            _,
        ):
            await asyncio.gather(*(_play(gateway, key, number, visit) for number, visit in enumerate(visits)))
            rows = {row.request_id: row for row in await gateway.rows(COUNT)}
            assert len(rows) == COUNT
            assert gateway.in_flight() == [0, 0]
            replicas = gateway.app.state.serving.pools["main"].replicas
            assert not any(replica.breaker.trial for replica in replicas)
            assert gateway.app.data_plane.spool.open_count == 0
        for each in (one, other):
            await each.wait_for(lambda e: e.running == e.waiting == 0)
    stayed = [visit for visit in visits if visit.answer is not None]
    assert sum(row.outcome == CLIENT_CLOSED for row in rows.values()) <= COUNT - len(stayed)
    for visit in stayed:
        assert visit.answer is not None
        _agree(visit.answer, rows[str(visit.answer.header("x-tollgate-request-id"))])


def _agree(answer: raw.Answer, row: LedgerRow) -> None:
    """What a client that stayed was told, and what is written down."""
    assert answer.whole
    assert row.outcome in OUTCOMES
    assert row.release == answer.header("x-tollgate-release")
    if answer.status != 200:
        assert (row.status, row.outcome) == (answer.status, answer.json["error"]["code"])
        return
    assert row.replica == answer.header("x-tollgate-replica")
    if row.outcome != COMPLETED:
        assert f'"code":"{row.outcome}"'.encode() in answer.events[-1], "an error is the last event"
    assert b'"code":"upstream' not in b"".join(answer.events[:-1])
