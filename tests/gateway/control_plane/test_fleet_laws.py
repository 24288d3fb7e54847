"""Whatever reloads do to the replicas of an engine, the one that serves counts all that is in flight there."""

from collections.abc import Sequence
from operator import itemgetter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.config import PoolConfig, ReplicaConfig
from gateway.control_plane.fleet import Fleet
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica
from tests.drawing import often
from tests.gateway.builders import NOW, deployment

Step = tuple[str, ...] | int
"""A reload, its pool and each replica's name, which begins with its engine; or a number: of the replica that gets a
request, and below 0 of the request that ends, the latest first."""

_engine = itemgetter(0)
_names = st.lists(st.sampled_from(("ax", "ay", "az", "bx", "by")), min_size=1, max_size=2, unique_by=_engine)
_reloads = st.tuples(st.sampled_from("pq"), _names).map(lambda made: (made[0], *made[1]))
_steps = st.lists(_reloads | st.integers(0, 2) | st.integers(-3, -1), max_size=30)
LEFT_OUT: list[Step] = [("p", "ax"), 0, ("p", "ay"), ("p", "bx"), ("p", "ax")]


@settings(max_examples=often(150, thorough=5000), deadline=None)
@given(steps=_steps)
@example(steps=LEFT_OUT).via("the heir of what an engine still ends leaves, and the engine comes back")
def test_law_who_serves_an_engine_counts_what_is_in_flight_there(steps: Sequence[Step]) -> None:
    fleet, serving, under_way = Fleet(Telemetry(), lambda: NOW), list[Replica](), list[Replica]()
    for step in steps:
        if not isinstance(step, int):
            serving = _reload(fleet, *step)
        elif step >= 0 and serving:
            under_way.append(serving[step % len(serving)].__enter__())
        elif step < 0 and len(under_way) >= -step:
            under_way.pop(step).__exit__()
        parted = fleet.part()
        assert not any(replica in parted for replica in under_way)
        for replica in serving:
            assert replica.in_flight + replica.before == sum(each.url == replica.url for each in under_way)
    for replica in under_way:
        replica.__exit__()
    fleet.part()
    assert [*fleet.replicas] == serving
    assert [replica.in_flight + replica.before for replica in serving] == [0] * len(serving)


def _reload(fleet: Fleet, pool: str, *names: str) -> list[Replica]:
    wanted = PoolConfig(replicas=tuple(ReplicaConfig(name=name, url=f"http://{_engine(name)}") for name in names))
    config = deployment().config.model_copy(update={"pools": {pool: wanted}})
    pools = fleet.pools(config)
    fleet.serve(config, pools)
    return list(pools[pool].engines)
