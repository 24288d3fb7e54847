"""The overload of the VTC paper (OSDI 2024, section 5.2), served by the gateway's own queue in front of a model.

One engine with 10,000 tokens of KV cache gives 1.7 requests of 256 and 256 tokens a second; both tenants want more than
their half. Compared with first come first served, which is the same queue with everyone one tenant.
"""

from functools import cache
from random import Random

import pytest

from gateway.settings.profile import A10G
from gateway.settings.queue import QueueConfig
from gateway.simulation.fleet import Replay, Setup, replay
from gateway.simulation.report import services, summary
from gateway.simulation.workloads import VTC_TOKENS, WORKLOADS

WARM_S = 60.0
"""Until both wait."""


@cache
def run(name: str, *, fair: bool = True) -> Replay:
    """A workload on its fleet, with a queue in which nobody gives up."""
    workload = WORKLOADS[name]
    queue = QueueConfig(max_in_flight=workload.max_in_flight, max_queued=100_000, max_wait=86_400, ageing=86_400)
    arrivals = workload.make(Random(1), workload.rate, workload.seconds)
    return replay(arrivals, Setup(A10G, workload.replicas, queue=queue, fair=fair), Random(1))


def between(found: Replay, start: float, end: float = 360.0) -> dict[str, float]:
    """What each tenant was served, unweighted."""
    return services(found, start, end, weighted=False)


def test_two_that_ask_for_too_much_are_served_alike() -> None:
    served = between(run("overload"), WARM_S)
    assert served["two"] / served["one"] == pytest.approx(1.0, abs=0.05)


def test_first_come_first_served_serves_who_asks_more() -> None:
    served = between(run("overload", fair=False), WARM_S)
    assert served["two"] / served["one"] == pytest.approx(2.0, abs=0.05)


def test_their_difference_stays_within_the_bound_of_the_paper() -> None:
    """2 · max(w_input · longest prompt, w_output · tokens in the batch), theorem 4.4; and it does not grow."""
    weights = QueueConfig()
    bound = 2 * max(weights.input * VTC_TOKENS, weights.output * A10G.kv_tokens)
    differences = []
    for second in range(int(WARM_S), 361, 10):
        served = between(run("overload"), WARM_S, float(second))
        differences.append(abs(served["two"] - served["one"]))
    assert max(differences) <= bound
    grows = between(run("overload", fair=False), WARM_S)
    assert abs(grows["two"] - grows["one"]) > bound


def test_fairness_costs_no_throughput() -> None:
    fair, first = (sum(between(run("overload", fair=way), WARM_S).values()) for way in (True, False))
    assert fair == pytest.approx(first, rel=0.01)
    ends = [run("overload", fair=way).end for way in (True, False)]
    assert ends[0] == pytest.approx(ends[1], rel=0.01)


def test_who_weighs_twice_is_served_twice() -> None:
    served = between(run("weighted"), WARM_S)
    assert served["two"] / served["one"] == pytest.approx(2.0, abs=0.05)


def test_who_returns_from_idle_does_not_monopolise() -> None:
    """The other one had all of it for two minutes, and owes nothing for that."""
    found = run("returns")
    assert between(found, 30.0, 120.0)["back"] == 0
    after = between(found, 135.0, 195.0)
    assert after["back"] / after["here"] == pytest.approx(1.0, abs=0.05)


def test_who_asks_for_less_than_its_share_hardly_waits() -> None:
    assert waited(run("on-off"), "steady") < 1.0
    assert waited(run("on-off"), "on-off") > 5.0
    assert waited(run("on-off", fair=False), "steady") > 5.0


def waited(found: Replay, tenant: str) -> float:
    """Seconds in the queue, on average."""
    times = [each.routed_at - each.arrival.at for each in found.served if each.arrival.tenant == tenant]
    return sum(times) / len(times)


def test_three_that_ask_unequally_get_their_demand_or_an_equal_share() -> None:
    served = between(run("proportional"), WARM_S)
    demand = 300.0 * 0.5 * 3 * VTC_TOKENS
    assert served["one"] == pytest.approx(demand, rel=0.05)
    assert served["two"] == pytest.approx(served["six"], rel=0.05)


def test_the_index_of_fairness_tells_the_two_apart() -> None:
    fair, first = summary(run("overload")).jain, summary(run("overload", fair=False)).jain
    assert fair == pytest.approx(1.0, abs=0.001)
    assert first == pytest.approx(0.9, abs=0.01)
