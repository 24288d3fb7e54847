"""The engines' time model: moments that follow from arithmetic, a cache that forgets in order, and known shares."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fleet.model import BLOCK_TOKENS, Cache, Job, Replica, Speed
from benchmarks.fleet.workload import WORKLOADS, Request, requests

SPEED = Speed(prefill=1000.0, token_s=0.1, kv_tokens=100 * BLOCK_TOKENS, running=4, every=5)


def _job(number: int, at: float, blocks: Sequence[str], output: int = 10) -> Job:
    return Job(number, at, len(blocks) * BLOCK_TOKENS, output, blocks)


def _prompt(prefix: str, shared: int, own: int, number: int) -> list[str]:
    return [f"{prefix}{at}" for at in range(shared)] + [f"own{number}-{at}" for at in range(own)]


def test_a_lone_prompt_is_read_at_the_rate_and_answered_at_the_pace() -> None:
    replica, job = Replica(SPEED), _job(1, 2.0, _prompt("a", 10, 0, 1))
    assert replica.arrive(job) == []
    happened = replica.advance(100.0)
    read = 2.0 + 10 * BLOCK_TOKENS / 1000
    assert [(each.at, each.kind, each.tokens) for each in happened] == [
        (pytest.approx(read), "first", 1),
        (pytest.approx(read + 0.5), "tokens", 6),
        (pytest.approx(read + 0.9), "last", 10),
    ]
    assert (job.started, job.first, job.finished) == (2.0, pytest.approx(read), pytest.approx(read + 0.9))
    assert replica.next_at is None


def test_prompts_are_read_one_after_the_other_and_what_is_cached_costs_nothing() -> None:
    replica = Replica(SPEED)
    first, second = _job(1, 0.0, _prompt("a", 10, 2, 1)), _job(2, 0.1, _prompt("a", 10, 3, 2))
    replica.arrive(first)
    replica.arrive(second)
    replica.advance(100.0)
    assert (first.cached_tokens, second.cached_tokens) == (0, 10 * BLOCK_TOKENS)
    assert second.started == first.first == pytest.approx(12 * BLOCK_TOKENS / 1000)
    assert second.first == pytest.approx(second.started + 3 * BLOCK_TOKENS / 1000)


def test_the_last_token_of_a_prompt_that_is_cached_whole_is_read_all_the_same() -> None:
    replica = Replica(SPEED)
    for number in (1, 2):
        job = _job(number, float(10 * number), _prompt("a", 10, 0, 0))
        replica.arrive(job)
    replica.advance(100.0)
    assert job.cached_tokens == 9 * BLOCK_TOKENS


def test_how_late_one_asks_changes_no_moment() -> None:
    def moments(steps: Sequence[float]) -> list[tuple[float, int, int]]:
        replica, happened = Replica(SPEED), []
        for number in range(6):
            happened += replica.arrive(_job(number, 0.05 * number, _prompt("a", 5, number, number)))
        for step in steps:
            happened += replica.advance(step)
        return [(each.at, each.job.number, each.tokens) for each in happened]

    assert moments([50.0]) == moments([at / 7 for at in range(351)])


def test_a_prompt_waits_for_blocks_and_for_its_turn_among_those_that_run() -> None:
    replica = Replica(replace(SPEED, prefill=10_000.0))
    jobs = [_job(number, 0.0, _prompt("", 0, 40, number)) for number in range(3)]
    for job in jobs:
        replica.arrive(job)
    replica.advance(100.0)
    # Two fit with their answers into 100 blocks; the third one starts when the first gives its blocks back.
    assert jobs[1].started == jobs[0].first
    assert jobs[2].started == jobs[0].finished > jobs[1].first
    many = Replica(SPEED)
    short = [_job(number, 0.0, _prompt("", 0, 1, number), output=1000) for number in range(5)]
    for job in short:
        many.arrive(job)
    assert (many.advance(20.0)[-1].job in short, len(many.waiting), many.running) == (True, 1, SPEED.running)


def test_a_prompt_that_can_never_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="never fit into 4800"):
        Replica(SPEED).arrive(_job(1, 0.0, _prompt("a", 100, 0, 1)))


def test_the_end_of_a_prompt_is_forgotten_first_and_the_least_recently_used_one_before_others() -> None:
    cache = Cache(10)
    old, new = ["a1", "a2", "a3"], ["b1", "b2", "b3"]
    for blocks in (old, new):
        held = cache.take(blocks, 0, 0)
        assert held is not None
        cache.give_back(held)
    assert cache.take([f"c{at}" for at in range(5)], 0, 0) is not None
    assert (cache.matched(old), cache.matched(new), cache.in_use) == (2, 3, 5)
    assert cache.take(["d1"], 0, 5) is None, "running requests give nothing up"
    assert cache.take(["d1"], 0, 3) is not None
    assert (cache.matched(old), cache.matched(new)) == (0, 1)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(1, 6), st.integers(0, 3)), max_size=40))
def test_a_cache_never_holds_more_than_fits_nor_less_than_is_in_use(steps: list[tuple[int, int, int, int]]) -> None:
    cache, held = Cache(24), []
    for number, (prefix, shared, own, others) in enumerate(steps):
        blocks = _prompt(f"p{prefix}-", shared, own, number)
        taken = cache.take(blocks, cache.matched(blocks), others)
        if taken is None:
            assert held, "an empty engine takes whatever fits"
            cache.give_back(held.pop(0))
        else:
            held.append(taken)
            assert cache.matched(blocks) == len(blocks)
        assert len({block for each in held for block in each}) == cache.in_use <= cache.capacity
        assert len(cache) <= cache.capacity


def _cached_share(choose: Callable[[Request], int]) -> float:
    workload, replicas = WORKLOADS["shared"], [Replica(Speed()) for _ in range(8)]
    jobs = []
    for request in requests(workload, 1):
        blocks = [hash((request.customer, at)) for at in range(workload.prefix_tokens // BLOCK_TOKENS)]
        blocks += [hash(("own", request.number, at)) for at in range(workload.question_tokens // BLOCK_TOKENS)]
        job = Job(request.number, request.at, 7200, workload.output_tokens, blocks)
        replicas[choose(request)].arrive(job)
        if request.measured:
            jobs.append(job)
    for replica in replicas:
        replica.advance(10_000.0)
    return sum(job.cached_tokens for job in jobs) / sum(job.prompt_tokens for job in jobs)


def test_the_fleet_caches_what_arithmetic_says() -> None:
    # In turn: an engine keeps what its last 48 requests brought, and 1 - exp(-48 / 150) of .833 is found again.
    assert _cached_share(lambda request: request.number % 8) == pytest.approx(0.23, abs=0.02)
    assert _cached_share(lambda request: request.customer % 8) == pytest.approx(6000 / 7200, abs=0.005)
