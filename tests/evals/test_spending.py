import asyncio
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.client import Result
from evals.schema import Answer, Failure
from evals.spending import ENOUGH, Forecast, Spend, amount


def answered(cost: str | None) -> Result:
    return Result(answer=Answer(text="x", cost=cost))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("0.10", Decimal("0.10")), ("0", Decimal(0)), ("1e15", Decimal(10) ** 15), ("1e-99999", Decimal("1e-99999"))],
        *[(text, None) for text in (None, "", "x", "NaN", "-1", "1e16", "1e999999")],
    ],
)
def test_an_amount_is_a_number_that_an_answer_can_cost(text: str | None, expected: Decimal | None) -> None:
    assert amount(text) == expected


async def test_without_a_cap_everything_is_counted_and_nothing_refused() -> None:
    spend = Spend(None)
    for cost in ("1.5", None, "2.5"):
        assert await spend.reserve() is None
        spend.settle(answered(cost))
    assert (spend.spent, spend.largest, spend.refusal) == (Decimal("4.0"), Decimal("2.5"), None)


async def test_the_first_request_of_a_capped_run_goes_alone() -> None:
    spend = Spend(Decimal(10))
    assert await spend.reserve() is None
    second = asyncio.create_task(spend.reserve())
    await asyncio.sleep(0)
    assert not second.done()
    spend.settle(answered("1"))
    assert await asyncio.wait_for(second, 10) is None


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 120), st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_law_the_cap_is_passed_only_by_an_answer_dearer_than_all_before(
    costs: list[int], cap: int, workers: int
) -> None:
    spend, todo, sent, dearer = Spend(Decimal(cap)), iter(costs), list[int](), Decimal(0)
    rng = random.Random(0)

    async def work() -> None:
        nonlocal dearer
        for cost in todo:
            if await spend.reserve() is None:
                held = spend.largest or Decimal(0)
                for _ in range(rng.randint(0, 3)):
                    await asyncio.sleep(0)
                sent.append(cost)
                dearer += max(Decimal(0), cost - held)
                spend.settle(answered(str(cost)))

    async def all_of_them() -> None:
        await asyncio.wait_for(asyncio.gather(*(work() for _ in range(workers))), 20)

    asyncio.run(all_of_them())
    assert spend.spent == sum(sent) <= cap + dearer
    if len(sent) < len(costs):
        assert spend.largest is not None
        assert spend.spent + spend.largest > cap, "it stops no earlier than it must"


async def test_what_may_have_cost_something_is_held_for_good() -> None:
    spend = Spend(Decimal(3))
    await spend.reserve()
    spend.settle(answered("1"))
    await spend.reserve()
    spend.settle(Result(failure=Failure("timeout", "")))
    assert (spend.spent, spend.unheard) == (Decimal(1), Decimal(1))
    await spend.reserve()
    spend.settle(answered("1"))
    refusal = await spend.reserve()
    assert refusal is not None
    assert refusal.kind == "over_budget"
    assert "2 spent of --max-cost 3" in refusal.message


async def test_a_refused_request_costs_nothing() -> None:
    spend = Spend(Decimal(3))
    for _ in range(20):
        assert await spend.reserve() is None
        spend.settle(Result(failure=Failure("limited", "429"), answer=Answer()))
    assert spend.spent == 0


async def test_answers_without_a_cost_end_a_capped_run() -> None:
    spend = Spend(Decimal(3))
    await spend.reserve()
    waiting = [asyncio.create_task(spend.reserve()) for _ in range(5)]
    await asyncio.sleep(0)
    spend.settle(answered(None))
    refusals = await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert {refusal.kind for refusal in refusals if refusal} == {"over_budget"}
    assert "cannot be kept" in str(refusals[0])


async def test_earlier_attempts_at_a_run_count() -> None:
    refusal = await Spend(Decimal(3), already=Decimal("2.5"), largest=Decimal(1)).reserve()
    assert refusal is not None
    assert await Spend(Decimal("3.5"), already=Decimal("2.5"), largest=Decimal(1)).reserve() is None


async def test_what_judges_cost_is_spent() -> None:
    spend = Spend(Decimal("1.00"))
    assert await spend.reserve() is None
    spend.settle(answered("0.40"))
    spend.paid(Decimal("0.30"))
    assert spend.spent == Decimal("0.70")
    refusal = await spend.reserve()
    assert refusal is not None
    assert "0.70 spent of --max-cost 1.00" in refusal.message


async def test_a_request_that_was_never_sent_gives_its_reservation_back() -> None:
    spend = Spend(Decimal(1), largest=Decimal(1))
    for _ in range(5):
        assert await asyncio.wait_for(spend.reserve(), 10) is None
        spend.settle(None)


def test_nothing_is_said_of_the_whole_before_enough_is_known() -> None:
    forecast = Forecast()
    for _ in range(ENOUGH - 1):
        forecast.add(Decimal(1))
    assert forecast.project(100) is None
    forecast.add(Decimal(1))
    assert forecast.project(100) is not None


def test_free_answers_give_no_projection() -> None:
    forecast = Forecast()
    for _ in range(ENOUGH):
        forecast.add(None)
    assert forecast.project(100) is None


def test_a_projection_is_money_spent_plus_the_mean_of_the_rest() -> None:
    forecast = Forecast()
    for cost in ("1", "3") * 10:
        forecast.add(Decimal(cost))
    found = forecast.project(80)
    assert found is not None
    # s^2 = 20 / 19, m + m^2 / n = 80 + 320; 1.95996 sqrt(400 * 20 / 19) = 40.218
    assert found.total == Decimal(200)
    assert float(found.high - found.total) == pytest.approx(40.218, abs=1e-3)
    assert found.low == Decimal(200) - (found.high - Decimal(200))


def test_the_interval_covers_what_a_run_comes_to() -> None:
    rng, covered = random.Random(5), 0
    for _ in range(400):
        costs = [Decimal(rng.randint(1, 100)) for _ in range(150)]
        forecast = Forecast()
        for cost in costs[:30]:
            forecast.add(cost)
        found = forecast.project(120)
        assert found is not None
        covered += found.low <= sum(costs) <= found.high
    assert 0.91 <= covered / 400 <= 0.98
