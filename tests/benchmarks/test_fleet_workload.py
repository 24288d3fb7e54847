"""What is asked: the same for every gateway, at the rate that was meant, in prompts that begin as they should."""

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fleet.model import Speed
from benchmarks.fleet.workload import WORKLOADS, Texts, Workload, blocks, number_of, requests

SHARED, UNIQUE = WORKLOADS["shared"], WORKLOADS["unique"]


def test_a_seed_says_all() -> None:
    assert requests(SHARED, 3) == requests(SHARED, 3) != requests(SHARED, 4)
    bodies = [[Texts(UNIQUE, 3).body(each) for each in requests(UNIQUE, 3)[:2]] for _ in range(2)]
    assert bodies[0] == bodies[1]


@given(st.integers(0, 1000))
def test_arrivals_climb_to_the_rate_and_are_held_there(seed: int) -> None:
    found = requests(SHARED, seed)
    moments = [each.at for each in found]
    assert moments == sorted(moments)
    assert all(each.measured == (each.at >= SHARED.ramp_s) for each in found)
    assert [each.number for each in found] == list(range(len(found)))
    # Six standard deviations of a Poisson count.
    climbing, held = 31.5 * SHARED.ramp_s, SHARED.rate * SHARED.hold_s
    measured = sum(each.measured for each in found)
    assert abs(measured - held) < 6 * held**0.5
    assert abs(len(found) - measured - climbing) < 6 * climbing**0.5
    half = sum(each.at < SHARED.ramp_s / 2 for each in found)
    assert half < 0.45 * (len(found) - measured)


@pytest.mark.parametrize("workload", [replace(UNIQUE, ramp_s=0.0), WORKLOADS["seldom"]], ids=["unique", "seldom"])
def test_a_rate_may_be_held_from_the_start(workload: Workload) -> None:
    found, expected = requests(workload, 1), workload.rate * workload.hold_s
    assert all(each.measured for each in found)
    assert len(found) == pytest.approx(expected, abs=6 * expected**0.5)


def test_of_seldom_prompts_hardly_two_meet_on_an_engine_that_is_drawn_by_lot() -> None:
    reads_s, engines = WORKLOADS["seldom"].question_tokens / Speed().prefill, 8
    for seed in range(3):
        found = requests(WORKLOADS["seldom"], seed)
        met = sum(max(0.0, reads_s - (b.at - a.at)) for a, b in itertools.pairwise(found)) / engines
        assert met / len(found) < 0.02 * reads_s, "what a wait adds to a mean by which policies are compared"


def test_prompts_of_a_customer_begin_alike_and_no_two_end_alike() -> None:
    texts, seen = Texts(SHARED, 1), {}
    for each in requests(SHARED, 1)[:300]:
        body = json.loads(texts.body(each))
        contents = [message["content"] for message in body["messages"]]
        assert number_of(contents) == each.number
        text = "".join(contents)
        assert len(text) == 4 * 7200
        chained = list(blocks(text, 192))
        assert seen.setdefault(each.customer, chained)[:125] == chained[:125]
        if seen[each.customer] is not chained:
            assert not set(seen[each.customer][125:]) & set(chained[125:])
    for one, other in itertools.combinations(list(seen.values())[:20], 2):
        assert not set(one) & set(other)


def test_unique_prompts_share_nothing() -> None:
    texts, found = Texts(UNIQUE, 1), requests(UNIQUE, 1)[:50]
    each = [set(blocks(json.loads(texts.body(one))["messages"][0]["content"], 192)) for one in found]
    assert len(set.union(*each)) == sum(map(len, each)) == 50 * 150
    assert len({one.customer for one in found}) == 50


@pytest.mark.parametrize("contents", [[], ["Are you there?"], ["1234567"], ["١٢٣٤٥٦٧٨"]])
def test_a_gateways_own_question_has_no_number(contents: list[str]) -> None:
    assert number_of(contents) == -1
