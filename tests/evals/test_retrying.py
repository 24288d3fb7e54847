import random

import pytest

from evals.client import Result
from evals.retrying import BACKOFF_CAP_S, LONGEST_WAIT_S, Patience, Retries
from evals.schema import Answer, Failure


def failed(retry_after: float | None = None, *, retryable: bool = True) -> Result:
    return Result(failure=Failure("server_error", "500"), retryable=retryable, retry_after=retry_after)


def retries(most: int = 4) -> Retries:
    return Retries(most, random.Random(1))


@pytest.mark.parametrize("result", [Result(answer=Answer(text="x")), failed(retryable=False)])
def test_what_is_final_is_not_tried_again(result: Result) -> None:
    assert retries().wait(result, 1) is None


def test_the_retries_run_out() -> None:
    assert retries(2).wait(failed(), 2) is not None
    assert retries(2).wait(failed(), 3) is None


def test_waits_grow_to_their_cap() -> None:
    policy = retries(1000)
    longest = [max(policy.wait(failed(), attempt) or 0.0 for _ in range(200)) for attempt in (1, 2, 3, 12)]
    assert 0.45 < longest[0] <= 0.5 < longest[1] <= 1.0 < longest[2] <= 2.0
    assert 25.0 < longest[3] <= BACKOFF_CAP_S


def test_the_servers_wish_is_the_least_up_to_all_patience() -> None:
    assert retries().wait(failed(LONGEST_WAIT_S), 1) == LONGEST_WAIT_S
    assert retries().wait(failed(LONGEST_WAIT_S + 0.1), 1) is None


BUSY = Result(failure=Failure("limited", "as told"), retryable=True)


async def test_attempts_share_what_is_left_of_the_time() -> None:
    now, given, slept = [0.0], [], []

    async def send(seconds: float) -> Result:
        given.append(seconds)
        now[0] += 1.0
        return BUSY if len(given) < 3 else Result(answer=Answer(text="x"))

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    patience = Patience(lambda: now[0], sleep, random.Random(0), max_retries=5, timeout_s=2.5, ends_at=4.0)
    result, attempts = await patience.ask(send)
    assert (attempts, given, len(slept)) == (3, [2.5, 2.5, 2.0], 2)
    assert result.failure is None


async def test_a_deadline_between_attempts_tells_the_last_failure() -> None:
    async def send(seconds: float) -> Result:
        return Result(failure=BUSY.failure, retryable=True, retry_after=9.0)

    async def sleep(seconds: float) -> None:
        raise AssertionError("nothing is waited for")

    patience = Patience(lambda: 0.0, sleep, random.Random(0), max_retries=5, timeout_s=1.0, ends_at=5.0)
    result, attempts = await patience.ask(send)
    assert result.failure is not None
    assert (result.failure.kind, attempts, "as told" in result.failure.message) == ("deadline", 1, True)
