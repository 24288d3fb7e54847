"""The laws of the way of one request, whatever engines and clients do and however it interleaves.

The real connection, data plane, relay and client of engines run on a network of their own, in a time of their own.
"""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.contracts.ledger import CLIENT_CLOSED, COMPLETED, OUTCOMES, LedgerRow
from gateway.forwarding import MAX_ATTEMPTS
from gateway.policy.retries import PER_SECOND, SHARE
from gateway.stores.spool import decode
from tests.drawing import often
from tests.gateway import scripted, tallies
from tests.gateway.scripted import Behaviour, Exchange
from tests.gateway.virtual import Loop
from tests.gateway.visits import Seen, Visit
from tests.gateway.world import MODELS, Script, World

_tenths = st.integers(0, 30).map(lambda n: n / 10)
_behaviours = st.builds(
    Behaviour,
    kind=st.sampled_from(("answers", *scripted.KINDS)),
    at=st.integers(-1, 5),
    wait=st.just(0.0) | _tenths,
    gap=st.just(0.0) | st.integers(0, 25).map(lambda n: n / 10),
    cut=st.just(0) | st.integers(1, 40),
)
_replicas = st.tuples(
    st.lists(st.sampled_from(("accepts", "accepts", *scripted.CONNECTS)), min_size=1, max_size=4),
    st.lists(_behaviours, min_size=1, max_size=4),
)
_visits = st.builds(
    Visit,
    path=st.sampled_from(tallies.WHOLE),
    stream=st.booleans(),
    usage=st.booleans(),
    continuous=st.booleans(),
    tokens=st.integers(1, 4),
    arrives=st.just(0.0) | _tenths,
    leaves=st.none() | st.none() | _tenths,
    reads=st.none() | st.none() | st.integers(0, 4),
    half=st.sampled_from((False,) * 9 + (True,)),
    pace=st.none() | st.none() | st.tuples(st.integers(8, 200), st.sampled_from((0.1, 0.6, 1.5))),
    server=st.booleans(),
).map(lambda visit: visit if visit.path in tallies.STREAMED else _plain(visit))
_scripts = st.builds(
    Script,
    pools=st.fixed_dictionaries(
        {
            name: st.lists(_replicas, min_size=1, max_size=most)
            for name, most in (("main", 3), ("spare", 2), ("last", 1))
        }
    ),
    visits=st.lists(_visits, min_size=1, max_size=8),
    balance=st.sampled_from((0.0, 1.0, 10.0)),
    broken=st.booleans(),
    cap=st.none() | st.integers(1, 2),
)


def _plain(visit: Visit) -> Visit:
    return replace(visit, stream=False)


def _one(*kinds: str, at: int = 0, **visit: Any) -> Script:
    """One visit, and in each pool one replica that does one thing."""
    does = [Behaviour(kind, at, wait=0.0, gap=0.0, cut=0) for kind in (*kinds, "answers", "answers")]
    stays = {"arrives": 0.0, "leaves": None, "reads": None, "half": False, "pace": None, "server": True}
    asks = {"path": "/v1/chat/completions", "stream": True, "usage": False, "continuous": False, "tokens": 4}
    pools = {name: [(["accepts"], [each])] for name, each in zip(MODELS, does, strict=False)}
    return Script(pools, [Visit(**{**asks, **stays, **visit})], balance=0.0)


@settings(max_examples=often(120, thorough=2000), deadline=None)
@given(script=_scripts)
@example(script=_one("503", "error", at=2)).via("a fallback that fails after its first byte is the last one asked")
@example(script=_one("503", "503", "503")).via("the failure that is told is that of the release that was asked for")
@example(script=_one("close", at=99)).via("nothing is missing after the last event, however the connection ends")
@example(script=_one("error", at=99)).via("what comes after the last event is no part of an answer")
@example(script=_one("not_json", at=2)).via("what came before an event that does not read counts")
@example(script=_one("answers", pace=(8, 0.9), leaves=2.0)).via("what lay unread when a slow client left was generated")
@example(script=replace(_one("stall", leaves=0.5), broken=True)).via("a trial that tells nothing is over all the same")
@example(script=_one("close", at=1, path="/v1/completions", tokens=1)).via(
    "what only a failed attempt told is not kept"
)
def test_laws_hold_whatever_engines_and_clients_do(script: Script) -> None:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(_hold(script, Path(folder)))


def test_what_the_laws_are_tried_on_reaches_engines() -> None:
    """On a network where nobody is reached they would hold of nothing but failures."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(_outcomes(_one("answers"), Path(folder))) == ([COMPLETED], 1)


async def _outcomes(script: Script, folder: Path) -> tuple[list[str], int]:
    """How requests ended, and how many engines saw."""
    world = World(script, folder)
    await world.run()
    world.books.close()
    return [row.outcome for row in world.books.settlements], sum(len(each.exchanges) for each in world.engines)


async def _hold(script: Script, folder: Path) -> None:
    world = World(script, folder)
    seen = await world.run()
    _nothing_is_left(world)
    _retries_are_within_their_budget(world)
    rows = _one_row_each(world, seen)
    for request_id, row in rows.items():
        visit, got = script.visits[int(request_id)], seen[int(request_id)]
        _the_row_is_what_happened(world, visit, got, row)
        _the_client_got_one_answer(world.exchanges(request_id), visit, got, row)
    world.books.close()


def _nothing_is_left(world: World) -> None:
    assert [(replica.in_flight, replica.outstanding) for replica in world.replicas] == [(0, 0)] * len(world.replicas)
    assert not any(replica.breaker.trial for replica in world.replicas)
    assert world.books.open_count == 0
    assert all(holder.in_flight == 0 for holder in world.admission.keys.held.values())
    for pool in world.pools.values():
        assert pool.queue is not None
        kept = (pool.queue._noted, pool.queue.charged, pool.queue._waiting, pool.queue._granted)
        assert (pool.queue.depth, [len(each) for each in kept]) == (0, [0, 0, 0, 0])
    assert [engine.running for engine in world.engines] == [0] * len(world.engines), "an engine still works"
    assert [engine.connected for engine in world.engines] == [0] * len(world.engines), "a connection is lost track of"
    assert asyncio.all_tasks() == {asyncio.current_task()}


def _retries_are_within_their_budget(world: World) -> None:
    passed = asyncio.get_running_loop().time()
    for name, pool in world.pools.items():
        retries = world.counted("retries", name)
        asked = len(world.books.admitted)
        assert retries <= world.script.balance + PER_SECOND * passed + SHARE * asked
        assert retries <= asked * (min(MAX_ATTEMPTS, len(pool.replicas)) - 1)


def _one_row_each(world: World, seen: Sequence[Seen]) -> dict[str, LedgerRow]:
    books = world.books
    assert max(Counter(books.admitted).values(), default=1) == 1
    assert Counter(row.request_id for row in books.settlements) == Counter(books.admitted), "not settled exactly once"
    assert [decode(line).request_id for line in books.take()] == [row.request_id for row in books.settlements]
    for at, (visit, got) in enumerate(zip(world.script.visits, seen, strict=True)):
        if visit.half:
            assert str(at) not in books.admitted, "admitted before its body was whole"
        if visit.stays or got.status:
            assert str(at) in books.admitted
    return {row.request_id: row for row in books.settlements}


def _the_row_is_what_happened(world: World, visit: Visit, got: Seen, row: LedgerRow) -> None:
    exchanges = world.exchanges(row.request_id)
    assert row.outcome in OUTCOMES
    told = row.replica is not None and [each for each in exchanges if each.replica == row.replica]
    last = told[-1] if told else None
    if row.outcome == COMPLETED:
        assert row.status == 200
        assert last is not None
        assert last.told == len(last.events), "completed, and the engine had not said all"
        assert got.whole or got.left or visit.pace
    elif row.outcome == CLIENT_CLOSED:
        assert row.status == 499
        assert not visit.stays, "it waited"
    else:
        may = {scripted.OUTCOMES.get(each.kind, "upstream_failed") for each in exchanges}
        waits = set() if world.script.cap is None else {"queue_timeout"}
        assert row.outcome in may | waits | {"upstream_unavailable", "upstream_timeout"}
    if visit.stays:
        assert got.whole
    assert not got.watched
    # The engine's own count, as far as the gateway could hear it.
    count = None if last is None else last.count
    assert (None if row.input_tokens is None else (row.input_tokens, row.output_tokens)) == count


def _the_client_got_one_answer(exchanges: Sequence[Exchange], visit: Visit, got: Seen, row: LedgerRow) -> None:
    if not got.status:
        return
    assert got.headers["x-tollgate-request-id"] == row.request_id
    assert got.headers["x-tollgate-release"] == row.release
    if got.status != 200:
        if got.whole:
            assert (got.status, json.loads(got.body)["error"]["code"]) == (row.status, row.outcome)
        return
    (source,) = [each for each in exchanges if each.replica == got.headers["x-tollgate-replica"]][-1:]
    assert source.replica == row.replica, "another replica was asked after the first byte"
    said = b"".join(event.seen for event in source.events)
    # What an engine says after its last event is passed on, and is no part of its answer.
    answer = said if row.outcome == COMPLETED and got.body.startswith(said) else got.body
    body, failure = _cut(answer) if visit.stream else (answer, None)
    assert said.startswith(body)
    if failure is not None:
        assert row.outcome == failure
        assert got.whole or got.left, "something came after an error"
    elif got.whole:
        assert row.outcome == COMPLETED
        assert body == said


def _cut(body: bytes) -> tuple[bytes, str | None]:
    """(what the engine said, the code of the gateway's error) of a stream's bytes; an error is the last event."""
    *events, last = body.split(b"\n\n")[:-1] or [b""]
    error = _error(last)
    assert all(_error(event) is None for event in events), "something came after an error"
    return (body if error is None else b"".join(event + b"\n\n" for event in events)), error


@cache
def _error(event: bytes) -> str | None:
    data = event.partition(b"data: ")[2]
    value = json.loads(data) if data.startswith(b"{") else {}
    if value.get("type") == "error" and "code" in value:
        return str(value["code"])
    return str(value["error"]["code"]) if "error" in value else None
