"""A fleet behind the gateway's own decisions: what it counts, what it knows, and who is served."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.routing import POLICIES
from gateway.settings.profile import EngineProfile, StepTime
from gateway.settings.queue import QueueConfig
from gateway.simulation import traces
from gateway.simulation.fleet import COMPLETED, QUEUE_FULL, QUEUE_TIMEOUT, TOO_LONG, Replay, Setup, replay
from gateway.simulation.traces import Arrival

STEP = StepTime(base_s=0.01, prefill_token_s=1e-4, sequence_s=1e-5, context_token_s=1e-8)
SMALL = EngineProfile(name="small", kv_tokens=8192, max_num_seqs=32, step=STEP)


def setup(**fields: Any) -> Setup:
    """A fleet of two small engines."""
    return Setup(**{"engine": SMALL, "replicas": 2, **fields})


def ask(at: float = 0.0, tokens: int = 256, written: int = 16, **fields: Any) -> Arrival:
    """One request."""
    return Arrival(at, tokens, written, block_tokens=64, **fields)


def run(arrivals: Sequence[Arrival], seed: int = 1, **fields: Any) -> Replay:
    """Replay on two small engines."""
    return replay(arrivals, setup(**fields), Random(seed))


def mixed(seed: int, number: int = 80) -> list[Arrival]:
    """Requests of three tenants, some of which begin alike."""
    random = Random(seed)
    prefixes = [tuple(random.getrandbits(64) for _ in range(4)) for _ in range(5)]
    times = sorted(random.uniform(0.0, 8.0) for _ in range(number))
    return [
        ask(
            at,
            random.randint(256, 600),
            random.randint(0, 60),
            blocks=random.choice(prefixes),
            tenant=random.choice("abc"),
            level=random.choice((0, 100)),
        )
        for at in times
    ]


def test_a_request_alone_takes_what_its_engine_takes() -> None:
    (only,) = run([ask()]).served
    assert only.outcome == COMPLETED
    assert only.first_at == pytest.approx(0.01 + 256e-4)
    assert only.finished_at == pytest.approx(only.first_at + 15 * (0.01 + 1e-5) + 1e-8 * sum(range(257, 272)))


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_uses_every_replica(policy: str) -> None:
    arrivals = [ask(0.01 * number, blocks=tuple(range(number, number + 4))) for number in range(40)]
    found = run(arrivals, policy=policy)
    assert {each.replica for each in found.served} == {0, 1}


def test_the_score_sends_a_prefix_where_it_is() -> None:
    arrivals = [ask(float(number), 320, blocks=(number % 2 + 1, 3, 4, 5)) for number in range(10)]
    found = run(arrivals, policy="score").served
    assert len({each.replica for each in found[::2]}) == 1
    assert [each.cached for each in found[2:]] == [256] * 8


def test_what_an_engine_says_counts_once_it_was_scraped() -> None:
    """Both engines have one request in flight, and one of them holds a hundred times as much."""
    busy = [ask(0.0, 6000, 2000), ask(0.001, 64, 2000)]
    later = [ask(10.0 + number, 500, 1) for number in range(6)]
    told = run([*busy, *later], policy="score", scrape_s=0.5).served
    assert [each.replica for each in told] == [0, 1, *[1] * 6]
    silent = run([*busy, *later], policy="score", scrape_s=None).served
    assert {each.replica for each in silent[2:]} == {0, 1}


@pytest.mark.parametrize("scrape_s", [1.0, 1e-9])
def test_a_fleet_that_is_idle_for_centuries_costs_nothing(scrape_s: float) -> None:
    found = run([ask(0.0), ask(traces.MOST_MS / 1000)], scrape_s=scrape_s).served
    assert [each.outcome for each in found] == [COMPLETED] * 2
    assert found[1].finished_at - found[1].arrival.at == pytest.approx(found[0].finished_at, rel=1e-3)


def test_no_replica_gets_more_than_it_may() -> None:
    arrivals = [ask(0.001 * number, 256, 40) for number in range(60)]
    found = run(arrivals, queue=QueueConfig(max_in_flight=4, max_wait=3600))
    assert all(each.outcome == COMPLETED for each in found.served)
    for replica in range(2):
        moments = sorted(_moments([each for each in found.served if each.replica == replica]))
        in_flight = most = 0
        for _, change in moments:
            in_flight += change
            most = max(most, in_flight)
        assert most == 4


def _moments(served: Sequence[Any]) -> Iterator[tuple[float, int]]:
    for each in served:
        yield each.routed_at, 1
        yield each.finished_at, -1


def test_a_full_queue_refuses_and_a_long_wait_ends() -> None:
    arrivals = [ask(0.0, 256, 400) for _ in range(10)]
    found = run(arrivals, queue=QueueConfig(max_in_flight=1, max_queued=5, max_wait=1.0))
    outcomes = [each.outcome for each in found.served]
    assert outcomes.count(COMPLETED) == 2
    assert outcomes.count(QUEUE_FULL) == 3
    assert outcomes.count(QUEUE_TIMEOUT) == 5


def test_what_fits_no_engine_is_told_and_takes_no_slot() -> None:
    found = run([ask(0.0, 9000), ask(0.0)], replicas=1, queue=QueueConfig(max_in_flight=1))
    assert [each.outcome for each in found.served] == [TOO_LONG, COMPLETED]


def test_a_higher_class_goes_first() -> None:
    queue = QueueConfig(max_in_flight=1, max_wait=3600, ageing=3600)
    arrivals = [ask(0.0, 256, 100), *(ask(0.1, level=0) for _ in range(5)), ask(0.2, level=100)]
    served = run(arrivals, replicas=1, queue=queue).served
    assert served[-1].routed_at < min(each.routed_at for each in served[1:-1])
    served = run(arrivals, replicas=1, queue=queue, fair=False).served
    assert served[-1].routed_at > max(each.routed_at for each in served[1:-1])


@pytest.mark.parametrize("policy", POLICIES)
def test_one_seed_is_one_replay(policy: str) -> None:
    assert run(mixed(3), policy=policy).served == run(mixed(3), policy=policy).served


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from(sorted(POLICIES)), st.sampled_from([None, 1, 3]))
def test_every_request_has_one_end_and_its_times_are_in_order(seed: int, policy: str, cap: int | None) -> None:
    arrivals = mixed(seed)
    found = run(arrivals, policy=policy, queue=QueueConfig(max_in_flight=cap, max_queued=20, max_wait=2.0))
    assert [each.arrival for each in found.served] == arrivals
    for each in found.served:
        if each.outcome == COMPLETED:
            assert each.arrival.at <= each.routed_at <= each.started_at < each.first_at <= each.finished_at
            assert each.routed_at - each.arrival.at <= 2.0
            assert 0 <= each.cached < each.arrival.input_tokens
    done = [each for each in found.served if each.outcome == COMPLETED]
    assert sum(each.decoded for each in found.loads) == sum(max(0, each.arrival.output_tokens - 1) for each in done)
    assert sum(each.prefilled for each in found.loads) == sum(each.arrival.input_tokens - each.cached for each in done)
