"""A replica that stays is the same object; one that leaves ends what it has begun, then closes."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from gateway.config import GatewayConfig, PoolConfig, ReplicaConfig, Timeouts
from gateway.contracts.documents import Secret
from gateway.contracts.errors import DocumentError
from gateway.control_plane.fleet import Fleet
from gateway.policy.fairness import Ticket
from gateway.policy.health import COLD_WEIGHT
from gateway.policy.routing import POLICIES
from gateway.queueing import PoolQueue
from gateway.settings.health import Health
from gateway.settings.queue import QueueConfig
from gateway.settings.routing import Routing
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream
from tests.gateway.builders import NOW, deployment
from tests.gateway.virtual import turns


def _config(*replicas: ReplicaConfig, connect: float = 5.0, **changes: Any) -> GatewayConfig:
    config = deployment(timeouts=Timeouts(connect=connect), **changes).config
    return config.model_copy(update={"pools": {"main": PoolConfig(replicas=replicas)}})


def _engine(name: str | None = None, url: str = "http://a", **more: Any) -> ReplicaConfig:
    return ReplicaConfig(name=name, url=url, **more)


def _serve(fleet: Fleet, config: GatewayConfig) -> list[Upstream]:
    pools = fleet.pools(config)
    fleet.serve(config, pools)
    return list(pools["main"].replicas)


def test_a_replica_without_a_name_is_called_after_its_pool() -> None:
    assert [replica.name for replica in _serve(Fleet(Telemetry(), lambda: NOW), _config(_engine(), _engine("b")))] == [
        "main-0",
        "b",
    ]


def test_a_replica_that_stays_is_the_same_object() -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    a, b = _serve(fleet, _config(_engine("a"), _engine("b")))
    assert _serve(fleet, _config(_engine("b"), _engine("c"), _engine("a")))[::2] == [b, a]


@pytest.mark.parametrize(
    "changed", [{"url": "http://b"}, {"name": "b"}, {"api_key": Secret(env="HOME")}], ids=["url", "name", "key"]
)
def test_a_replica_that_changed_is_another_one(changed: dict[str, object]) -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    (before,) = _serve(fleet, _config(_engine("a")))
    (after,) = _serve(fleet, _config(_engine("a").model_copy(update=changed)))
    assert before is not after
    assert fleet.part() == [before]


def test_another_time_to_connect_makes_another_replica() -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    assert _serve(fleet, _config(_engine("a"))) != _serve(fleet, _config(_engine("a"), connect=1.0))


def test_a_secret_that_was_written_anew_makes_another_replica(tmp_path: Path) -> None:
    fleet, secret = Fleet(Telemetry(), lambda: NOW), tmp_path / "key"
    config = _config(_engine("a", api_key=Secret(file=secret)))
    secret.write_text("one")
    before = _serve(fleet, config)
    assert _serve(fleet, config) == before
    secret.write_text("two")
    assert _serve(fleet, config) != before


def test_what_leaves_ends_what_it_has_begun_first() -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    (a,) = _serve(fleet, _config(_engine("a")))
    with a:
        (b,) = _serve(fleet, _config(_engine("b")))
        assert (fleet.part(), fleet.replicas) == ([], [a, b])
    assert (fleet.part(), fleet.replicas, fleet.part()) == ([a], [b], [])


def test_law_8_pools_that_cannot_be_made_change_nothing(tmp_path: Path) -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    (a,) = _serve(fleet, _config(_engine("a")))
    with pytest.raises(DocumentError, match="expected a secret"):
        fleet.pools(_config(_engine("b"), _engine("c", api_key=Secret(env="TOLLGATE_NO_SUCH"))))
    assert fleet.replicas == [a]
    assert _serve(fleet, _config(_engine("a"))) == [a]


def test_what_is_known_of_a_replica_stays_and_its_settings_follow() -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    (a,) = _serve(fleet, _config(_engine("a")))
    a.vitals.missed()
    a.vitals.failed(NOW)
    assert _serve(fleet, _config(_engine("a", drain=True), health=Health(failures=7))) == [a]
    assert (a.vitals.failed_probes, a.breaker.failures) == (1, 1)
    assert (a.vitals.draining, a.vitals.settings.failures) == (True, 7)
    _serve(fleet, _config(_engine("a")))
    assert not a.vitals.draining


def test_a_replica_that_joins_others_starts_slowly_and_the_first_ones_do_not() -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    (a,) = _serve(fleet, _config(_engine("a")))
    _, b = _serve(fleet, _config(_engine("a"), _engine("b")))
    assert (a.vitals.weight(NOW), b.vitals.weight(NOW)) == (1.0, COLD_WEIGHT)


def test_the_retry_budget_of_a_pool_is_no_larger_for_a_reload() -> None:
    fleet, config = Fleet(Telemetry(), lambda: NOW), _config(_engine("a"))
    before = fleet.pools(config)
    fleet.serve(config, before)
    assert fleet.pools(config)["main"].retries is before["main"].retries


def test_what_a_pool_has_learned_outlives_a_reload_and_its_settings_follow(tmp_path: Path) -> None:
    fleet, config = Fleet(Telemetry(), lambda: NOW), _config(_engine("a"), _engine("b"))
    _serve(fleet, config)
    before = fleet.pools(config)["main"]
    before.index.add("a", [1, 2])
    changed = config.model_copy(
        update={
            "routing": Routing(session_header="x-chat", hash_key=_secret(tmp_path, "one")),
            "health": Health(scrape=2.0),
            "pools": {"main": config.pools["main"].model_copy(update={"policy": "session_affinity"})},
        }
    )
    after = fleet.pools(changed)["main"]
    assert (after.index, after.estimator, after.draw) == (before.index, before.estimator, before.draw)
    assert (after.policy, after.session_header, after.stale_s) == (POLICIES["session_affinity"], b"x-chat", 10.0)
    assert before.policy is POLICIES["score"]


def _secret(folder: Path, text: str) -> Secret:
    (folder / text).write_text(text)
    return Secret(file=folder / text)


def test_gateways_with_one_secret_hash_alike_and_without_one_they_do_not(tmp_path: Path) -> None:
    def key(secret: Secret | None) -> bytes:
        config = _config(_engine("a")).model_copy(update={"routing": Routing(hash_key=secret)})
        return Fleet(Telemetry(), lambda: NOW).pools(config)["main"].secret

    one, two = _secret(tmp_path, "one"), _secret(tmp_path, "two")
    assert key(one) == key(one) != key(two)
    assert key(None) != key(None)
    fleet = Fleet(Telemetry(), lambda: NOW)
    assert fleet.pools(_config(_engine("a")))["main"].secret == fleet.pools(_config(_engine("b")))["main"].secret


def test_who_leaves_or_is_another_engine_takes_no_prefixes_along() -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    _serve(fleet, _config(_engine("a"), _engine("b"), _engine("c", "http://c")))
    index = fleet.pools(_config(_engine("a")))["main"].index
    for name in "abc":
        index.add(name, [1, 2])
    fleet.pools(_config(_engine("a")))
    assert [index.size(name) for name in "abc"] == [2, 2, 2], "nothing changes before they serve"
    _serve(fleet, _config(_engine("a"), _engine("c", "http://other")))
    assert [index.size(name) for name in "abc"] == [2, 0, 0]


async def test_nobody_waits_for_a_pool_that_is_no_more_and_its_gauge_says_so() -> None:
    """Who scales by the gauge would else keep gateways for requests that are long over."""
    telemetry = Telemetry()
    fleet = Fleet(telemetry, lambda: NOW)
    main = PoolConfig(replicas=(_engine("a"),), queue=QueueConfig(max_in_flight=1))
    config = _config(_engine("a")).model_copy(update={"pools": {"main": main}})
    pools = fleet.pools(config)
    fleet.serve(config, pools)
    queue, (replica,) = pools["main"].queue, pools["main"].replicas
    assert queue is not None
    with replica:
        ticket = Ticket("search", 0, 1.0, 1, 0, 1.0, NOW, NOW + 30.0, "")
        waiting = asyncio.create_task(queue.wait(ticket, Client("POST", "/v1/completions", 5.0)))
        await turns(2)
        fleet.tick()
        depth = partial(telemetry.registry.get_sample_value, "tollgate_queue_depth", {"pool": "main"})
        assert depth() == 1
        other = config.model_copy(update={"pools": {"other": main}})
        fleet.serve(other, fleet.pools(other))
        await waiting
        fleet.tick()
        assert depth() == 0


async def test_a_replica_under_another_name_has_no_room_that_its_engine_has_not() -> None:
    """Whatever made it another object, twice over: what both former ones still end counts, and their ends are heard."""
    fleet = Fleet(Telemetry(), lambda: NOW)

    def serve(name: str, connect: float) -> tuple[PoolQueue, Upstream]:
        main = PoolConfig(replicas=(_engine(name),), queue=QueueConfig(max_in_flight=2))
        config = _config(_engine(name), connect=connect).model_copy(update={"pools": {"main": main}})
        fleet.serve(config, pools := fleet.pools(config))
        assert pools["main"].queue is not None
        return pools["main"].queue, pools["main"].replicas[0]

    _, first = serve("a", 5.0)
    with first:
        queue, second = serve("a", 1.0)
        second.__enter__()
        queue, third = serve("b", 1.0)
        assert fleet.part() == []
        assert (third.in_flight, third.before) == (0, 2)
        assert not queue.ready(NOW)
        ticket = Ticket("search", 0, 1.0, 1, 0, 1.0, NOW, NOW + 30.0, "")
        waiting = asyncio.create_task(queue.wait(ticket, Client("POST", "/v1/completions", 5.0)))
        await turns(2)
        second.__exit__()
        await turns(3)
        assert waiting.done()
        assert fleet.part() == []
        assert third.before == 1
    assert fleet.part() == [first, second]
    assert third.before == 0


def test_of_two_replicas_of_one_engine_each_follows_another_one() -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    for replica in (before := _serve(fleet, _config(_engine("a"), _engine("b"), _engine("c", "http://c")))):
        replica.__enter__()
    after = _serve(fleet, _config(_engine("x"), _engine("b"), _engine("y"), _engine("z", "http://z")))
    assert [replica.in_flight + replica.before for replica in after] == [1, 1, 0, 0]
    assert after[1] is before[1]


async def test_an_engine_in_another_pool_has_its_room_back_though_somebody_waited_in_the_former_one() -> None:
    fleet, pool = Fleet(Telemetry(), lambda: NOW), PoolConfig(replicas=(_engine(),), queue=QueueConfig(max_in_flight=1))
    config = _config(_engine())

    def serve(name: str) -> tuple[PoolQueue, Upstream]:
        changed = config.model_copy(update={"pools": {name: pool}})
        fleet.serve(changed, pools := fleet.pools(changed))
        assert pools[name].queue is not None
        return pools[name].queue, pools[name].replicas[0]

    queue, former = serve("main")
    with former:
        ticket = Ticket("search", 0, 1.0, 1, 0, 1.0, NOW, NOW + 30.0, "")
        waiting = asyncio.create_task(queue.wait(ticket, Client("POST", "/v1/completions", 5.0)))
        await turns(2)
        queue, heir = serve("other")
        await waiting
        assert not queue.ready(NOW)
    assert heir.before == 0
    assert queue.ready(NOW)


def test_what_an_engine_still_ends_counts_though_a_reload_left_it_out_meanwhile() -> None:
    fleet = Fleet(Telemetry(), lambda: NOW)
    (first,) = _serve(fleet, _config(_engine("a")))
    with first:
        (second,) = _serve(fleet, _config(_engine("b")))
        _serve(fleet, _config(_engine("c", "http://c")))
        assert fleet.part() == []
        (third,) = _serve(fleet, _config(_engine("b")))
        assert third.before == 1
    assert third.before == 0
    assert fleet.part()[:2] == [first, second]
