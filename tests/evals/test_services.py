import asyncio
import random
from collections.abc import Sequence
from decimal import Decimal

import pytest

from evals.judge_config import JudgeConfig
from evals.schema import Failure, Unjudged
from evals.services import JudgeServices
from tests.evals.judge_bench import Bench, Refusal, Said, verdict

BODY = {"messages": [{"role": "user", "content": "?"}]}
DIGEST = "sha256:" + "a" * 64


async def test_the_suites_judge_fills_what_the_request_leaves_out() -> None:
    bench = Bench(lambda body: "x", JudgeConfig(model="judge@3", temperature=0.5, max_tokens=77, seed=9))
    async with bench.services() as services:
        await services.chat(BODY)
        await services.chat({**BODY, "model": "other", "max_tokens": 5}, vote=2)
    assert bench.bodies[0] == {**BODY, "model": "judge@3", "max_tokens": 77, "temperature": 0.5, "seed": 9}
    assert (bench.bodies[1]["model"], bench.bodies[1]["max_tokens"], bench.bodies[1]["seed"]) == ("other", 5, 11)


async def test_every_vote_has_a_seed_of_its_own() -> None:
    bench = Bench(lambda body: "x")
    async with bench.services() as services:
        for vote in range(5):
            await services.chat(BODY, vote=vote)
    assert len({body["seed"] for body in bench.bodies}) == 5


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    bench = Bench(lambda body: Refusal(429, {"Retry-After": "7"}) if len(bench.bodies) < 3 else "good")
    async with bench.services() as services:
        result = await services.chat(BODY)
    assert (result.failure, bench.slept) == (None, [7.0, 7.0])
    assert (services.bill.calls, services.bill.attempts, services.bill.failed) == (1, 3, 0)


async def test_what_lasts_is_a_failure_in_the_result() -> None:
    bench = Bench(lambda body: Refusal(500), JudgeConfig(model="judge@3", max_retries=2))
    async with bench.services() as services:
        result = await services.chat(BODY)
    assert result.failure is not None
    assert (result.failure.kind, len(bench.bodies), services.bill.failed) == ("server_error", 3, 1)


async def test_what_cannot_pass_is_asked_once() -> None:
    bench = Bench(lambda body: Refusal(400))
    async with bench.services() as services:
        result = await services.chat(BODY)
    assert (result.failure and result.failure.kind, len(bench.bodies)) == ("rejected", 1)


async def test_the_judge_has_a_bound_of_its_own() -> None:
    bench = Bench(lambda body: "x", JudgeConfig(model="judge@3", concurrency=3))
    async with bench.services() as services:
        await asyncio.gather(*(services.chat(BODY) for _ in range(30)))
    assert bench.most == 3
    assert len(bench.bodies) == 30


async def test_tokens_and_money_are_counted() -> None:
    costs = iter(["0.0015", "much", "0.1"])
    bench = Bench(lambda body: Said("x", headers={"x-tollgate-cost": next(costs)}))
    async with bench.services() as services:
        for _ in range(3):
            await services.chat(BODY)
    bill = services.bill
    assert (bill.input_tokens, bill.output_tokens, bill.cost, bill.uncosted) == (300, 60, Decimal("0.1015"), 1)


async def test_a_pinned_judge_is_the_only_one_that_counts() -> None:
    pinned = JudgeConfig(model="judge@3", release_digest=DIGEST)
    for headers, good in (
        ({"x-tollgate-release": "judge@3", "x-tollgate-digest": DIGEST}, True),
        ({"x-tollgate-release": "judge@3", "x-tollgate-digest": "sha256:" + "b" * 64}, False),
        ({}, False),
    ):
        async with Bench(lambda body, headers=headers: Said("x", headers=headers), pinned).services() as services:
            if good:
                assert (await services.chat(BODY)).failure is None
            else:
                with pytest.raises(Unjudged, match="pinned to sha256:aaa"):
                    await services.chat(BODY)


async def test_after_the_deadline_nothing_is_asked() -> None:
    bench = Bench(lambda body: verdict("pass"))
    async with bench.services(clock=lambda: 10.0, ends_at=10.0) as services:
        result = await services.chat(BODY)
    assert result.failure == Failure("deadline", "the run's deadline passed before this question to the judge was sent")
    assert bench.bodies == []


class _Embedder:
    name = "m"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return [[float(len(text)), 1.0] for text in texts]


async def test_embeddings_come_from_whom_was_passed_in() -> None:
    async with Bench(lambda body: "x").services(embedder=_Embedder()) as services:
        assert await services.embed(["a", "bb"], "m") == [[1.0, 1.0], [2.0, 1.0]]
        assert await services.embed(["a"]) == [[1.0, 1.0]]
        with pytest.raises(Unjudged, match="the suite's embedding model is 'm', not 'other'"):
            await services.embed(["a"], "other")


async def test_nobody_to_ask_is_missing_evidence() -> None:
    async def sleep(seconds: float) -> None:
        pass

    services = JudgeServices(None, None, lambda: 0.0, sleep, random.Random(0))
    with pytest.raises(Unjudged, match="add `judge:` to the suite"):
        await services.chat(BODY)
    with pytest.raises(Unjudged, match="add `embeddings:` to the suite") as failed:
        await services.embed(["a"])
    assert failed.value.kind == "not_measured"
