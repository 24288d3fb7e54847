"""What each policy is worth on llm-d's workload, and that none gains where there is nothing to gain.

Eight replicas, 150 prefixes of 6,000 tokens, questions of 1,200, 60 requests a second, 45 seconds, three seeds; in
`benchmarks/simulated.py` five seeds and two minutes. At most 0.833 of the prompts can come from a cache.
"""

from functools import cache
from random import Random

import pytest

from gateway.policy.routing import POLICIES
from gateway.settings.profile import H100X2
from gateway.simulation.fleet import Setup, replay
from gateway.simulation.report import Summary, summary
from gateway.simulation.workloads import WORKLOADS

SEEDS = (1, 2, 3)
LOAD_ONLY = ("round_robin", "least_in_flight", "least_outstanding", "power_of_two")


@cache
def run(name: str, policy: str, seed: int, rate: float = 60.0) -> Summary:
    """One policy on one trace."""
    workload = WORKLOADS[name]
    arrivals = workload.make(Random(seed), rate, 45.0)
    return summary(replay(arrivals, Setup(H100X2, workload.replicas, policy), Random(seed)))


def number(value: float | None) -> float:
    """A metric that is there."""
    assert value is not None
    return value


@pytest.mark.parametrize("seed", SEEDS)
def test_policies_that_see_load_alone_are_alike_and_drown(seed: int) -> None:
    found = [run("llm-d", policy, seed) for policy in LOAD_ONLY]
    assert all(0.15 < number(each.cached_share) < 0.30 for each in found)
    ttft = [number(each.ttft_mean) for each in found]
    assert min(ttft) > 10.0
    assert max(ttft) < 1.15 * min(ttft)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_score_finds_the_cache_and_keeps_the_balance(seed: int) -> None:
    found = run("llm-d", "score", seed)
    assert number(found.cached_share) > 0.75
    assert number(found.balance) < 1.1
    # The caches are empty at the start: two minutes are much better.
    assert number(found.ttft_p50) < 1.0
    assert number(found.ttft_p90) < 4.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "score"])
def test_the_score_is_best_with_every_seed(policy: str, seed: int) -> None:
    assert number(run("llm-d", "score", seed).ttft_mean) < number(run("llm-d", policy, seed).ttft_mean)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("policy", POLICIES)
def test_prompts_that_share_nothing_are_served_alike_by_all(policy: str, seed: int) -> None:
    """At the load of llm-d's workload, which is three times what the fleet can do without a cache."""
    found, least = run("unique", policy, seed), run("unique", "least_outstanding", seed)
    assert found.cached_share == 0.0
    assert number(found.ttft_mean) == pytest.approx(number(least.ttft_mean), rel=0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_below_saturation_the_score_is_the_least_loaded_where_nothing_is_shared(seed: int) -> None:
    """Policies that hash cannot be: they spread such prompts like dice, and take half as long again."""
    found, least, hashed = (
        run("unique", policy, seed, 12.0) for policy in ("score", "least_outstanding", "session_affinity")
    )
    assert number(found.ttft_mean) == pytest.approx(number(least.ttft_mean), rel=0.02)
    assert number(hashed.ttft_mean) > 1.1 * number(least.ttft_mean)
