"""A pool chooses among the replicas that may be tried, by its policy, and counts what it sends there."""

import json
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.endpoints import CHAT
from gateway.policy.estimate import Demand
from gateway.policy.health import COLD_WEIGHT, LIMIT, Vitals
from gateway.policy.prefixes import BLOCK_BYTES
from gateway.policy.request import parse
from gateway.policy.routing import POLICIES
from gateway.policy.shapes import Request
from gateway.policy.signals import Signals
from gateway.queueing import PoolQueue
from gateway.serving import ReplicaPool
from gateway.settings.queue import QueueConfig
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream
from gateway.upstreams.vllm import Replica
from tests.gateway.builders import release

PROMPT = "".join(f"{number} green bottles. " for number in range(200))
RELEASE = release()


def _pool(policy: str = "least_in_flight", count: int = 3, **changes: Any) -> ReplicaPool:
    replicas = [
        Replica(f"r{at}", f"http://127.0.0.1:{at + 1}", api_key=None, connect_s=1.0, vitals=Vitals())
        for at in range(count)
    ]
    return ReplicaPool("main", replicas, POLICIES[policy], None, engines=replicas, **changes)


def _request(*contents: str, **fields: Any) -> Request:
    messages = [{"role": "user", "content": content} for content in contents]
    return parse(json.dumps({"model": "faq", "messages": messages, **fields}).encode(), CHAT)


def _no_header(name: bytes) -> bytes | None:
    return None


def _chosen(pool: ReplicaPool, demand: Demand | None = None, now: float = 0.0) -> int | None:
    route = pool.choose(pool.replicas, now, demand or Demand())
    return None if route is None else route.position


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "power_of_two"])
def test_an_idle_pool_is_used_in_turn(policy: str) -> None:
    pool = _pool(policy)
    assert sorted(_chosen(pool) or 0 for _ in range(3)) == [0, 1, 2]


def test_the_position_is_one_of_what_was_offered() -> None:
    pool = _pool()
    pool.replicas[1].vitals.drain(True, 0.0)
    offered = list(pool.replicas)[1:]
    routes = [pool.choose(offered, 0.0) for _ in range(4)]
    assert {(route.position, route.replica.name) for route in routes if route} == {(1, "r2")}


def test_nobody_left_is_none() -> None:
    pool = _pool(count=1)
    assert pool.choose([], 0.0) is None
    pool.replicas[0].vitals.probed(0.0, asleep=True)
    assert pool.choose(pool.replicas, 0.0) is None


def test_a_broken_replica_is_tried_when_it_is_the_only_one() -> None:
    pool = _pool(count=2)
    for _ in range(LIMIT):
        pool.replicas[0].vitals.failed(0.0)
    assert {_chosen(pool, now=0.5) for _ in range(4)} == {1}
    pool.replicas[1].vitals.drain(True, 0.0)
    assert _chosen(pool, now=0.5) == 0


def _seen(pool: ReplicaPool, offered: Sequence[Upstream] | None = None, now: float = 0.0) -> list[tuple[str, float]]:
    """What the policy chose among: (name, weight); nothing where there was no choice."""
    route = pool.choose(pool.replicas if offered is None else offered, now)
    assert route is not None
    routed = route.routed
    assert routed is None or route.replica.name == routed.candidates[routed.position].name
    return [] if routed is None else [(each.name, each.weight) for each in routed.candidates]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_replica_with_room_is_preferred_and_without_any_one_is_taken(policy: str) -> None:
    queue = PoolQueue("main", Telemetry(), lambda: 0.0, random.Random(7))
    pool = _pool(policy, queue=queue)
    queue.serve(QueueConfig(max_in_flight=1), {}, pool.replicas)
    assert _seen(pool) == [("r0", 1.0), ("r1", 1.0), ("r2", 1.0)]
    with pool.replicas[1]:
        assert _seen(pool) == [("r0", 1.0), ("r2", 1.0)]
        assert _seen(pool, pool.replicas[1:2]) == []
        with pool.replicas[0]:
            assert {_chosen(pool) for _ in range(4)} == {2}
            assert _seen(pool) == []
            with pool.replicas[2]:
                assert _seen(pool) == [("r0", 1.0), ("r1", 1.0), ("r2", 1.0)]
    pool.replicas[2].vitals.warm_up(0.0)
    with pool.replicas[0]:
        assert _seen(pool) == [("r1", 1.0), ("r2", COLD_WEIGHT)], "weights stay with their replicas"
    queue.serve(QueueConfig(), {}, pool.replicas)
    with pool.replicas[0]:
        assert len(_seen(pool)) == 3


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 500), st.booleans(), st.booleans()), max_size=20))
def test_law_3_outstanding_tokens_return_to_zero(requests: list[tuple[int, int, bool, bool]]) -> None:
    pool, open_routes = _pool("score"), []
    for tokens, output, answers, fails in requests:
        demand = Demand(tokens=tokens, output=output, blocks=[tokens, 1], block_tokens=10)
        route = pool.choose(pool.replicas, 0.0, demand)
        assert route is not None
        if not fails:
            open_routes.append((route.__enter__(), answers))
            continue
        with suppress(RuntimeError), route:
            raise RuntimeError
    expected = {replica.name: 0 for replica in pool.replicas}
    for route, answers in open_routes:
        if answers:
            route.answered()
            route.answered()
        left = 0 if answers else route.demand.tokens - route.cached
        expected[route.replica.name] += left + route.demand.output // 2
    assert {each.name: each.outstanding for each in pool.replicas} == expected
    for route, _ in open_routes:
        route.__exit__()
    assert [(each.in_flight, each.outstanding) for each in pool.replicas] == [(0, 0)] * 3


def test_a_choice_can_be_made_again_from_what_it_kept() -> None:
    pool = _pool("score")
    for turn in range(6):
        demand = pool.demand(_request(PROMPT, str(turn)), RELEASE, "team", _no_header)
        route = pool.choose(pool.replicas, 0.0, demand)
        assert route is not None
        assert route.routed is not None
        again = route.routed.again()
        assert (again.position, again.reason) == (route.routed.position, route.routed.reason)
        assert route.replica.name == route.routed.candidates[again.position].name
        route.__enter__()


def test_a_prefix_is_sent_where_it_was_sent_before() -> None:
    pool = _pool("score")
    first = pool.choose(pool.replicas, 0.0, pool.demand(_request(PROMPT, "one"), RELEASE, "team", _no_header))
    assert first is not None
    with first:
        pass
    again = [
        pool.choose(pool.replicas, 0.0, pool.demand(_request(PROMPT, str(n)), RELEASE, "team", _no_header))
        for n in range(4)
    ]
    assert {route.replica.name for route in again if route} == {first.replica.name}
    assert {route.routed.reason.split()[0] for route in again if route and route.routed} == {"prefix"}
    assert all(0 < route.cached <= route.demand.tokens for route in again if route)


@pytest.mark.parametrize("changed", ["team", "release", "secret"])
def test_a_prefix_belongs_to_its_team_its_release_and_this_gateway(changed: str) -> None:
    pool = _pool("score", secret=b"a" * 32)
    other = _pool("score", secret=b"b" * 32) if changed == "secret" else pool
    one = pool.demand(_request(PROMPT), RELEASE, "team", _no_header)
    two = other.demand(
        _request(PROMPT),
        release("faq@2") if changed == "release" else RELEASE,
        "other" if changed == "team" else "team",
        _no_header,
    )
    assert one.blocks
    assert not set(one.blocks) & set(two.blocks)
    assert pool.demand(_request(PROMPT), RELEASE, "team", _no_header).blocks == one.blocks


@pytest.mark.parametrize(
    ("policy", "count", "prompt", "hashed"),
    [
        ("score", 2, PROMPT, True),
        ("score", 1, PROMPT, False),
        ("score", 2, "short", False),
        ("least_in_flight", 2, PROMPT, False),
        ("consistent_hash", 2, PROMPT, False),
    ],
)
def test_prompts_are_hashed_only_where_that_decides_anything(
    policy: str, count: int, prompt: str, hashed: bool
) -> None:
    demand = _pool(policy, count).demand(_request(prompt), RELEASE, "team", _no_header)
    assert bool(demand.blocks) == hashed
    assert demand.tokens > 0


@pytest.mark.parametrize("policy", ["consistent_hash", "session_affinity"])
def test_a_session_keeps_its_replica_whatever_it_asks(policy: str) -> None:
    pool = _pool(policy, count=8)

    def where(session: bytes | None, *contents: str, team: str = "team") -> tuple[int | None, int]:
        headers = {b"x-session-id": session}
        demand = pool.demand(_request(*contents), RELEASE, team, headers.get)
        return _chosen(pool, demand), demand.affinity

    assert where(b"s1", "hello") == where(b"s1", PROMPT)
    assert where(b"s1", "hello") != where(b"s2", "hello")
    assert where(b"s1", "hello")[1] != where(b"s1", "hello", team="other")[1]
    assert where(None, PROMPT, "one") == where(None, PROMPT, "two")
    assert where(None, PROMPT)[1] not in (0, where(b"s1", PROMPT)[1])
    assert where(None, "hello")[1] == where(b"", "hello")[1] == 0


def test_the_releases_own_prompt_does_not_make_all_its_requests_one_session() -> None:
    pool, strict = _pool("consistent_hash"), release(prompt={"system": "s" * (3 * BLOCK_BYTES)})
    affinities = {
        pool.demand(_request(f"{number} {PROMPT}"), strict, "team", _no_header).affinity for number in range(3)
    }
    assert len(affinities) == 3


def _signals(pool: ReplicaPool, told: Sequence[Signals | None]) -> list[tuple[float | None, int | None]]:
    for replica, signals in zip(pool.replicas, told, strict=True):
        replica.signals = signals
    route = pool.choose(pool.replicas, 100.0)
    assert route is not None
    assert route.routed is not None
    return [(each.kv_usage, each.waiting) for each in route.routed.candidates]


def test_what_an_engine_said_counts_while_it_is_fresh() -> None:
    pool = _pool(stale_s=5.0)
    assert _signals(pool, [Signals(95.0, 0.5, 1, 2), Signals(94.9, 0.5, 1, 2), None]) == [
        (0.5, 2),
        (None, None),
        (None, None),
    ]


def test_what_was_answered_teaches_what_to_expect() -> None:
    pool = _pool()
    request = _request(PROMPT, max_tokens=9)
    assert pool.demand(request, RELEASE, "team", _no_header).output == 9
    for _ in range(200):
        demand = pool.demand(request, RELEASE, "team", _no_header)
        pool.estimator.settled(demand.size, demand.size, 5)
    learned = pool.demand(request, RELEASE, "team", _no_header)
    assert learned.tokens == pytest.approx(learned.size, rel=0.01)
    assert learned.output == 5


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("session", [None, b"s1"])
def test_the_most_that_a_request_may_take_does_not_depend_on_the_policy(policy: str, session: bytes | None) -> None:
    pool, large = _pool(policy), release(prompt={"system": "s" * (3 * BLOCK_BYTES)})
    for of in (RELEASE, large):
        demand = pool.demand(_request(PROMPT, max_tokens=7000), of, "team", lambda _: session)
        assert demand.most == demand.tokens + 7000


def test_power_of_two_draws_for_each_request() -> None:
    draws = iter([0, 2**63, 2**64 - 1])
    pool = _pool("power_of_two", draw=draws.__next__)
    routes = [pool.choose(pool.replicas, 0.0) for _ in range(3)]
    assert [route.routed.ask.draw for route in routes if route and route.routed] == [0, 2**63, 2**64 - 1]
