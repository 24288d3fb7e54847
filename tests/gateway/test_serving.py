"""A pool chooses among the replicas that may be tried, by its policy, in turn."""

from gateway.policy.health import LIMIT, Vitals
from gateway.policy.routing import POLICIES
from gateway.serving import ReplicaPool
from gateway.upstreams.vllm import Replica


def _pool(policy: str = "least_in_flight", count: int = 3) -> ReplicaPool:
    replicas = [
        Replica(f"r{at}", f"http://127.0.0.1:{at + 1}", api_key=None, connect_s=1.0, vitals=Vitals())
        for at in range(count)
    ]
    return ReplicaPool("main", replicas, POLICIES[policy], None, engines=replicas)


def test_an_idle_pool_is_used_in_turn() -> None:
    for policy in POLICIES.keys() - {"power_of_two"}:
        pool = _pool(policy)
        assert sorted(pool.choose(pool.replicas, 0.0) or 0 for _ in range(3)) == [0, 1, 2]


def test_the_position_is_one_of_what_was_offered() -> None:
    pool = _pool()
    pool.replicas[1].vitals.drain(True, 0.0)
    offered = list(pool.replicas)[1:]
    assert {pool.choose(offered, 0.0) for _ in range(4)} == {1}


def test_nobody_left_is_none() -> None:
    pool = _pool(count=1)
    assert pool.choose([], 0.0) is None
    pool.replicas[0].vitals.probed(0.0, asleep=True)
    assert pool.choose(pool.replicas, 0.0) is None


def test_a_broken_replica_is_tried_when_it_is_the_only_one() -> None:
    pool = _pool(count=2)
    for _ in range(LIMIT):
        pool.replicas[0].breaker.failed(0.0)
    assert {pool.choose(pool.replicas, 0.5) for _ in range(4)} == {1}
    pool.replicas[1].vitals.drain(True, 0.0)
    assert pool.choose(pool.replicas, 0.5) == 0
