"""How replicas stand, out of the page of metrics."""

import math

from gateway.admin.replicas import GAUGES, standings
from gateway.config import PoolConfig
from gateway.providers import ProviderConfig
from gateway.settings.replicas import ReplicaConfig
from gateway.telemetry import Telemetry
from tests.gateway.builders import deployment


def test_what_is_told_comes_of_gauges_that_there_are() -> None:
    assert set(GAUGES.values()) <= {each.name for each in Telemetry().table}


def test_each_replica_stands_as_the_page_says_and_what_it_does_not_say_is_unknown() -> None:
    made = deployment()
    replicas = (ReplicaConfig(url="http://a", name="a", drain=True), ReplicaConfig(url="http://b", ranks=2))
    pools = {
        "main": PoolConfig(replicas=replicas),
        "api": PoolConfig(provider=ProviderConfig(model="openai/gpt-4o")),
    }
    made = type(made)(made.config.model_copy(update={"pools": pools}), made.releases, made.prices)
    telemetry = Telemetry()
    telemetry.in_flight.labels("a").set(3)
    telemetry.breaker.labels("a").set(1)
    telemetry.up.labels("a").set(0)
    telemetry.asleep.labels("a").set(0)
    telemetry.said("a", 0.25, 7)
    telemetry.said("main-1.0", None, None)
    telemetry.in_flight.labels("gone").set(1)
    first, rank, other, provider = standings(made, telemetry.registry.collect())
    assert first == {
        "replica": "a", "pool": "main", "address": "http://a", "draining": True, "in_flight": 3, "breaker_open": True,
        "up": False, "asleep": False, "kv_usage": 0.25, "waiting": 7,
    }  # fmt: skip
    unknown = dict.fromkeys(("in_flight", "breaker_open", "up", "asleep", "kv_usage", "waiting"))
    assert rank == {"replica": "main-1.0", "pool": "main", "address": "http://b", "draining": False, **unknown}
    assert other["replica"] == "main-1.1"
    assert (provider["replica"], provider["address"], provider["up"]) == ("api", "openai/gpt-4o", None)
    assert not any(isinstance(value, float) and math.isnan(value) for value in rank.values())
