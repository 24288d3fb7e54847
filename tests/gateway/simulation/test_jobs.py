"""Runs of steps: their times are sums, and are found again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulation.jobs import Job, Run


def test_steps_that_grow_are_summed() -> None:
    run = Run(2.0, 4, 1.0, 0.5, [])
    assert [run.after(steps) for steps in range(5)] == pytest.approx([2.0, 3.0, 4.5, 6.5, 9.0])
    assert [run.done(now) for now in (2.0, 2.9, 3.0, 6.4, 6.5, 9.0, 50.0)] == [0, 0, 1, 2, 3, 4, 4]


def test_steps_that_do_not_grow_are_counted() -> None:
    run = Run(0.0, 100, 0.25, 0.0, [])
    assert [run.done(now) for now in (0.0, 0.2, 0.25, 10.0, 25.0)] == [0, 0, 1, 40, 100]


def test_a_request_begins_with_its_whole_prompt() -> None:
    job = Job(100, 20, (1, 2), 48)
    assert (job.prompt, job.computed, job.produced, job.finished_at) == (100, 0, 0, None)


@given(st.integers(1, 400), st.floats(1e-4, 1.0), st.floats(0.0, 0.01), st.floats(0.0, 1.0))
def test_steps_done_by_a_time_are_those_that_ended_by_then(steps: int, first: float, more: float, part: float) -> None:
    made = Run(3.0, steps, first, more, [])
    now = 3.0 + part * (made.after(steps) - 3.0)
    done = made.done(now)
    assert made.after(done) <= now or done == 0
    assert done == steps or made.after(done + 1) > now
