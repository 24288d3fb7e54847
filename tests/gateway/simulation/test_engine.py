"""A replica of vLLM as a model: what its steps cost, what they compute, and that jumping changes nothing."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings.profile import EngineProfile, StepTime
from gateway.simulation.engine import NEVER, Engine
from gateway.simulation.jobs import Job

BASE, PREFILL, SEQUENCE, CONTEXT = 0.01, 1e-4, 1e-5, 1e-7


def profile(**changes: Any) -> EngineProfile:
    """A small engine."""
    step = StepTime(base_s=BASE, prefill_token_s=PREFILL, sequence_s=SEQUENCE, context_token_s=CONTEXT)
    fields = {"kv_tokens": 4096, "max_num_seqs": 16, "max_num_batched_tokens": 512, "step": step, **changes}
    return EngineProfile(name="test", **fields)


def run(engine: Engine, arrivals: list[tuple[float, Job]]) -> list[Job]:
    """Send all, wait for all; the jobs in the order in which they ended."""
    ended: list[Job] = []
    for at, job in [*arrivals, (NEVER, None)]:
        while engine.next_at <= at and engine.next_at < NEVER:
            ended += [each for each in engine.advance() if each.finished_at is not None]
        if job is not None:
            engine.submit(job, at)
    return ended


def test_one_request_takes_its_prefill_and_one_step_for_each_further_token() -> None:
    engine, job = Engine(profile()), Job(100, 3)
    run(engine, [(1.0, job)])
    first = 1.0 + BASE + 100 * PREFILL
    assert job.started_at == 1.0
    assert job.first_at == pytest.approx(first)
    assert job.finished_at == pytest.approx(first + 2 * (BASE + SEQUENCE) + CONTEXT * (101 + 102))
    assert (engine.prefilled, engine.decoded, engine.steps) == (100, 2, 3)


def test_a_request_that_writes_one_token_or_none_ends_with_its_prefill() -> None:
    for tokens in (0, 1):
        engine, job = Engine(profile()), Job(100, tokens)
        run(engine, [(0.0, job)])
        assert job.first_at == job.finished_at == pytest.approx(BASE + 100 * PREFILL)
        assert engine.usage(1.0) == 0.0


def test_a_long_prompt_is_computed_in_chunks_beside_those_that_decode() -> None:
    engine, early, late = Engine(profile()), Job(16, 100), Job(1000, 1)
    run(engine, [(0.0, early), (0.0, late)])
    first = BASE + 16 * PREFILL
    assert early.first_at == pytest.approx(first)
    # A token and 511 of the prompt, then a token and the other 489.
    steps = 2 * (BASE + SEQUENCE) + CONTEXT * (17 + 18) + 1000 * PREFILL
    assert late.first_at == pytest.approx(first + steps)


def test_an_arrival_waits_for_the_step_under_way_and_no_longer() -> None:
    engine, early, late = Engine(profile()), Job(16, 200), Job(16, 1)
    run(engine, [(0.0, early), (1.0, late)])
    assert late.started_at is not None
    assert 1.0 <= late.started_at <= 1.0 + BASE + SEQUENCE + 200 * CONTEXT


def test_a_prefix_is_computed_once() -> None:
    engine = Engine(profile())
    first, second = Job(320, 4, (1, 2, 3, 4), 64), Job(320, 4, (1, 2, 3, 9), 64)
    run(engine, [(0.0, first), (5.0, second)])
    assert (first.cached, second.cached) == (0, 192)
    assert engine.prefilled == 320 + 128


def test_a_prompt_that_is_all_there_still_computes_its_last_block() -> None:
    engine = Engine(profile())
    jobs = [Job(256, 4, (1, 2, 3, 4), 64) for _ in range(3)]
    run(engine, [(float(number), job) for number, job in enumerate(jobs)])
    assert [job.cached for job in jobs] == [0, 192, 192]
    assert engine.usage(9.0) == 0.0


def test_those_that_run_share_a_prefix_and_its_room() -> None:
    engine = Engine(profile(kv_tokens=1280))
    jobs = [Job(768 + 64, 4, tuple(range(12)), 64) for _ in range(4)]
    run(engine, [(0.001 * number, job) for number, job in enumerate(jobs)])
    assert engine.preemptions == 0
    # Alone each fills most of the cache; sharing, all four are in it at once.
    assert max(job.started_at or 0.0 for job in jobs) < min(job.finished_at or 0.0 for job in jobs)


def test_who_does_not_fit_waits_until_it_does() -> None:
    engine, first, second = Engine(profile(kv_tokens=1024)), Job(600, 10), Job(600, 10)
    run(engine, [(0.0, first), (0.0, second)])
    assert second.started_at == first.finished_at


def test_no_more_than_max_num_seqs_run() -> None:
    engine = Engine(profile(max_num_seqs=2))
    jobs = [Job(16, 20) for _ in range(3)]
    run(engine, [(0.0, job) for job in jobs])
    assert jobs[2].started_at == pytest.approx(jobs[0].finished_at)


def test_who_came_last_is_thrown_out_and_computed_again() -> None:
    engine, first, second = Engine(profile(kv_tokens=256)), Job(96, 100), Job(96, 100)
    ended = run(engine, [(0.0, first), (0.0, second)])
    assert ended == [first, second]
    assert (first.preempted, engine.preemptions) == (0, second.preempted)
    assert second.preempted > 0
    assert engine.prefilled > 192
    assert engine.decoded + 2 + second.preempted == 200


def test_what_can_never_fit_is_told() -> None:
    engine = Engine(profile(kv_tokens=256))
    assert engine.fits(Job(200, 56))
    assert not engine.fits(Job(200, 57))


@pytest.mark.parametrize(
    ("kv_tokens", "first", "second"),
    [
        # Found in blocks of 512 tokens, of which it names 100: all of them and the rest of its prompt have no room.
        (4096, Job(3584, 1, tuple(range(7)), 512), Job(1300, 1, tuple(range(7)), 100)),
        # A block of 101 tokens and 48 of the engine's are more than the 160 of all its tokens: it throws itself out.
        (160, Job(112, 1, (1,), 101), Job(112, 48, (1,), 101)),
    ],
)
def test_blocks_that_are_none_of_the_engines_keep_nobody_out(kv_tokens: int, first: Job, second: Job) -> None:
    engine, last = Engine(profile(kv_tokens=kv_tokens)), Job(16, 1)
    assert run(engine, [(0.0, first), (10.0, second), (20.0, last)]) == [first, second, last]
    assert (engine.kv.available, second.produced) == (kv_tokens, second.output_tokens)


def test_usage_grows_with_every_block_that_is_written() -> None:
    engine = Engine(profile(kv_tokens=1600))
    engine.submit(Job(16, 33), 0.0)
    engine.advance()
    start, end = engine.next_at - 32 * (BASE + SEQUENCE), engine.next_at
    assert engine.usage(start) == pytest.approx(0.01)
    assert engine.usage((start + end) / 2) == pytest.approx(0.02)
    assert engine.usage(end) == pytest.approx(0.03)


def _jobs(random: Random, number: int, sizes: Sequence[int] = (50,)) -> list[tuple[float, Job]]:
    prefixes = [tuple(random.getrandbits(32) for _ in range(3)) for _ in range(4)]
    found = []
    for _ in range(number):
        blocks = random.choice(prefixes) + tuple(random.getrandbits(32) for _ in range(2))
        size = random.choice(sizes)
        found.append((random.uniform(0.0, 20.0), Job(random.randint(1, 400), random.randint(0, 200), blocks, size)))
    return sorted(found, key=lambda each: each[0])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([608, 1024, 4096]), st.sampled_from([3, 16]))
def test_jumping_to_the_end_of_a_run_is_the_same_as_step_by_step(seed: int, kv_tokens: int, seqs: int) -> None:
    small = profile(kv_tokens=kv_tokens, max_num_seqs=seqs)
    jumping, stepping = Engine(small), Engine(small, most_steps=1)
    some, same = _jobs(Random(seed), 40), _jobs(Random(seed), 40)
    some, same = ([(at, job) for at, job in each if jumping.fits(job)] for each in (some, same))
    run(jumping, some)
    run(stepping, same)
    for (_, one), (_, other) in zip(some, same, strict=True):
        assert (one.cached, one.preempted) == (other.cached, other.preempted)
        assert one.started_at == pytest.approx(other.started_at, abs=1e-9)
        assert one.first_at == pytest.approx(other.first_at, abs=1e-9)
        assert one.finished_at == pytest.approx(other.finished_at, abs=1e-9)
    assert (jumping.steps, jumping.prefilled, jumping.decoded) == (stepping.steps, stepping.prefilled, stepping.decoded)
    assert jumping.busy_s == pytest.approx(stepping.busy_s)
    assert jumping.work_s == pytest.approx(stepping.work_s)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([608, 1024, 4096]))
def test_everything_ends_and_everything_is_given_back(seed: int, kv_tokens: int) -> None:
    engine = Engine(profile(kv_tokens=kv_tokens))
    jobs = [(at, job) for at, job in _jobs(Random(seed), 40, (50, 7, 31)) if engine.fits(job)]
    ended = run(engine, jobs)
    assert {id(each) for each in ended} == {id(job) for _, job in jobs}
    assert len(ended) == len(jobs)
    assert (engine.running, engine.waiting) == (0, 0)
    assert engine.kv.available == kv_tokens
    for at, job in jobs:
        assert job.started_at is not None
        assert job.first_at is not None
        assert job.finished_at is not None
        assert at <= job.started_at < job.first_at <= job.finished_at
        assert job.produced == job.output_tokens
