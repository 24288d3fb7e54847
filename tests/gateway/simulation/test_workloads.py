"""Made-up traces are what they say."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from gateway.settings.profile import PROFILES
from gateway.simulation.workloads import BLOCK, WORKLOADS, evenly, llm_d, on_off, overload, poisson, returns, unique


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_seed_is_a_trace(name: str) -> None:
    workload = WORKLOADS[name]
    made = workload.make(Random(7), workload.rate, 30.0)
    assert made == workload.make(Random(7), workload.rate, 30.0)
    assert [each.at for each in made] == sorted(each.at for each in made)
    assert all(0 <= each.at < 30.0 for each in made)
    assert workload.engine in PROFILES


@pytest.mark.parametrize("name", WORKLOADS)
def test_its_blocks_cover_what_they_can_of_its_prompts(name: str) -> None:
    workload = WORKLOADS[name]
    for each in workload.make(Random(7), workload.rate, 5.0):
        assert len(each.blocks) in (0, each.input_tokens // each.block_tokens)


def test_a_poisson_process_has_its_rate_and_its_variance() -> None:
    times = list(poisson(Random(1), 100.0, 500.0))
    assert len(times) == pytest.approx(50_000, rel=0.02)
    gaps = [after - before for before, after in pairwise(times)]
    average = sum(gaps) / len(gaps)
    variance = sum((gap - average) ** 2 for gap in gaps) / len(gaps)
    assert variance == pytest.approx(average**2, rel=0.05)


def test_even_times_are_exact() -> None:
    assert list(evenly(2.0, 2.0)) == [0.0, 0.5, 1.0, 1.5]
    assert list(evenly(1.0, 4.0, 2.5)) == [2.5, 3.5]


def test_customers_of_llm_d_share_their_prefix_and_nothing_else() -> None:
    made = llm_d(Random(1), 60.0, 60.0)
    prefix = 6000 // BLOCK
    assert {each.input_tokens for each in made} == {7200}
    assert len({each.blocks[:prefix] for each in made}) == 150
    assert len({each.blocks[prefix:] for each in made}) == len(made)
    of_customer = {each.tenant: each.blocks[0] for each in made}
    assert all(of_customer[each.tenant] == each.blocks[0] for each in made)
    assert max(Counter(each.tenant for each in made).values()) < 60


def test_unique_prompts_share_nothing() -> None:
    blocks = [block for each in unique(Random(1), 60.0, 10.0) for block in each.blocks]
    assert len(set(blocks)) == len(blocks)


def test_overload_is_one_to_two() -> None:
    asked = Counter(each.tenant for each in overload(Random(1), 4.5, 360.0))
    assert asked == {"one": 540, "two": 1080}


def test_one_tenant_is_on_every_other_minute() -> None:
    asked = [each.at for each in on_off(Random(1), 2.5, 240.0) if each.tenant == "on-off"]
    assert {int(at // 60) for at in asked} == {0, 2}


def test_who_returns_was_idle_for_a_third() -> None:
    asked = [each.at for each in returns(Random(1), 6.0, 360.0) if each.tenant == "back"]
    assert min(asked) == 120.0
