"""Budgets beside a request: what is loaded, what is charged, who is told, and what happens where nobody can count."""

import asyncio
import logging
import re
from decimal import Decimal
from typing import Any

import pytest

from gateway.budgeting import told
from gateway.contracts.errors import BudgetExceeded, BudgetUnavailable
from gateway.contracts.ledger import OUTCOMES
from gateway.contracts.usage import Usage
from gateway.policy.accounting import COSTLESS
from gateway.policy.budgets import Charge, Standing
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica
from tests.gateway import builders
from tests.gateway.budgeted import MOST, RATE, Away, Forgetful, Recorded, asked, budgeting, budgets, settle, stands
from tests.gateway.builders import NOW


async def test_a_request_without_a_budget_holds_nothing() -> None:
    made, _ = budgeting()
    assert await made.claim(None, asked()) is None
    assert await made.claim(budgets(a={"team": "ads"}), asked()) is None
    made.release(None)
    row = builders.settled()
    assert made.settle(None, row, asked().account, ()) is row


async def test_what_it_did_cost_takes_the_place_of_what_it_may_cost_once() -> None:
    (made, _), of, request = budgeting(Recorded(7)), budgets(a={}), asked()
    lease = await made.claim(of, request)
    assert await stands(made, of, "a") == Standing(7, MOST)
    row = settle(made, lease, request, cost="0.000000123")
    assert row.gpu_estimate is None
    settle(made, lease, request, cost="0.000000123")
    made.release(lease)
    assert await stands(made, of, "a") == Standing(130, 0)


async def test_what_was_not_admitted_costs_nothing() -> None:
    (made, _), of = budgeting(), budgets(a={})
    lease = await made.claim(of, asked())
    made.release(lease)
    made.release(lease)
    assert await stands(made, of, "a") == Standing(0, 0)


@pytest.mark.parametrize(
    ("ended", "cost"),
    [
        ({"cost": "0.000000005"}, 5),
        ({"outcome": "queue_timeout", "attempts": 0, "replica": None}, 0),
        ({"outcome": "invalid_request", "status": 400}, 0),
        ({"outcome": "upstream_overloaded", "status": 503}, 0),
        ({"outcome": "client_closed", "status": 499}, MOST),
        ({"outcome": "completed"}, MOST),
    ],
)
async def test_who_does_not_know_what_it_cost_charges_what_was_held(ended: dict[str, Any], cost: int) -> None:
    (made, _), of, request = budgeting(), budgets(a={}), asked()
    settle(made, await made.claim(of, request), request, **ended)
    assert await stands(made, of, "a") == Standing(cost, 0)
    assert COSTLESS <= OUTCOMES


async def test_gpu_money_is_charged_by_an_estimate_that_the_row_tells() -> None:
    (made, _), of, request = budgeting(), budgets(a={"money": "gpu"}, b={}), asked()
    request.account.usage = Usage(40, 20)
    replica = Replica("main-0", "http://127.0.0.1:1", api_key=None, connect_s=1.0)
    replica.in_flight = 3
    row = settle(made, await made.claim(of, request), request, [replica], cost="0.000000009")
    share = RATE.share(Usage(40, 20), 4)
    assert row.gpu_estimate is not None
    assert Decimal(row.gpu_estimate).scaleb(9) == share == (await stands(made, of, "a")).spent
    assert (await stands(made, of, "b")).spent == 9


async def test_who_answers_without_gpus_of_ours_costs_no_gpu_money() -> None:
    (made, _), of, request = budgeting(), budgets(a={"money": "gpu"}), asked()
    request.account.usage, request.account.release = Usage(40, 20), builders.release("api@1", "api")
    assert settle(made, await made.claim(of, request), request).gpu_estimate == "0.000000000"
    request = asked("tg-2")
    row = settle(made, await made.claim(of, request), request, outcome="client_closed")
    assert row.gpu_estimate is not None
    assert Decimal(row.gpu_estimate) > 0


async def test_the_refused_client_is_told_which_budget_what_is_left_and_when_it_resets() -> None:
    (made, telemetry), of, request = budgeting(Recorded(10**9 - MOST + 1)), budgets(a={"per": "day"}), asked()
    with pytest.raises(BudgetExceeded, match="it resets at 2026-11-23T00:00:00Z") as caught:
        await made.claim(of, request)
    assert "and the budget 'a' has 0.000757999 left of 1.00:" in caught.value.message
    assert (
        request.client.lines
        == told(caught.value)
        == (
            b"x-tollgate-budget: a\r\nx-tollgate-budget-remaining: 0.000757999\r\n"
            b"x-tollgate-budget-reset: 2026-11-23T00:00:00Z\r\n"
        )
    )
    assert b'tollgate_budget_refusals_total{budget="a"} 1.0' in telemetry.page()
    assert await stands(made, of, "a") == Standing(10**9 - MOST + 1, 0)


async def test_of_several_budgets_without_room_the_one_is_told_that_takes_longest() -> None:
    made, _ = budgeting(Recorded(10**9))
    of = budgets(day={"per": "day"}, soft={"on_exceeded": "warn"}, total={"per": "total"}, month={"per": "month"})
    with pytest.raises(BudgetExceeded, match="the budget 'total'"):
        await made.claim(of, asked())


async def test_a_budget_that_only_warns_says_so_and_serves() -> None:
    (made, telemetry), of, request = budgeting(Recorded(10**9)), budgets(a={"on_exceeded": "warn"}), asked()
    assert await made.claim(of, request) is not None
    assert request.lines == request.client.lines == b"x-tollgate-warning: over the budget a\r\n"
    assert b'tollgate_budget_warnings_total{budget="a"} 1.0' in telemetry.page()


async def test_a_counter_is_read_from_the_ledger_once_by_however_many_ask() -> None:
    spend = Recorded()
    (made, _), of = budgeting(spend), budgets(a={"each": "key"})
    leases = await asyncio.gather(*(made.claim(of, asked(f"tg-{number}")) for number in range(50)))
    assert (spend.asked, len({lease.id for lease in leases if lease})) == (1, 50)


async def test_whoever_leaves_while_a_counter_is_loaded_leaves_it_to_the_others() -> None:
    made, _ = budgeting()
    of = budgets(a={})
    leaving = asyncio.create_task(made.claim(of, asked("tg-1")))
    staying = asyncio.create_task(made.claim(of, asked("tg-2")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying is not None
    assert await stands(made, of, "a") == Standing(0, MOST)


async def test_a_ledger_that_is_away_refuses_and_comes_back() -> None:
    spend = Recorded()
    (made, telemetry), of = budgeting(spend), budgets(a={}, soft={"on_exceeded": "warn"})
    spend.away = True
    await made.prepare(of)
    with pytest.raises(BudgetUnavailable, match="the budgets 'a' cannot be told now") as caught:
        await made.claim(of, asked())
    assert caught.value.retry_after == 1
    spend.away = False
    assert await made.claim(of, asked()) is not None
    assert b'tollgate_budget_unknown_total{budget="a"} 1.0' in telemetry.page()


async def test_a_book_that_keeps_nothing_is_as_good_as_away() -> None:
    made, _ = budgeting(kind=Forgetful)
    with pytest.raises(BudgetUnavailable, match="do not stay"):
        await made.claim(budgets(a={}), asked())


async def test_a_book_that_is_away_refuses_or_lets_through_as_it_is_told() -> None:
    of = budgets(a={})
    refusing, _ = budgeting(kind=Away)
    with pytest.raises(BudgetUnavailable):
        await refusing.claim(of, asked())
    soft = await refusing.claim(budgets(a={"on_exceeded": "warn"}), asked())
    assert soft is not None
    allowing, telemetry = budgeting(kind=Away, when_away="allow")
    lease = await allowing.claim(of, request := asked())
    assert lease is not None
    assert not lease.held
    await allowing.book.load(of.of("a", "", NOW).id, 0, NOW, NOW)
    settle(allowing, lease, request, cost="0.000000005")
    tally = allowing.book._tallies[of.of("a", "", NOW).id]  # type: ignore[attr-defined]
    assert (tally.spent, tally.reserved) == (5, 0), "nothing was held, and it is charged all the same"
    await allowing.watch(of)
    assert b'tollgate_budget_unknown_total{budget="a"} 1.0' in telemetry.page()


async def test_each_threshold_is_told_once_in_a_window(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "tollgate")
    (made, telemetry), of = budgeting(), budgets(a={"alerts": ["0.5", "0.25"]})
    for number, cost in enumerate(("0.2", "0.1", "0.1", "0.1", "0.1")):
        request = asked(f"tg-{number}")
        settle(made, await made.claim(of, request), request, cost=cost)
    told = [each.getMessage() for each in caplog.records]
    assert told == [
        "budget 'a': 0.30 of 1.00 are spent, more than 25 % (search)",
        "budget 'a': 0.50 of 1.00 are spent, more than 50 % (search)",
    ]
    assert b'tollgate_budget_alerts_total{budget="a",threshold="0.25"} 1.0' in telemetry.page()


async def test_the_watch_corrects_gpu_money_and_tells_the_largest_part_of_each_budget() -> None:
    spend = Recorded(10**8, corrected=3 * 10**8)
    (made, telemetry), of = budgeting(spend), budgets(a={"money": "gpu"}, b={"each": "key"})
    await made.watch(of)
    for key, cost in (("k", "0.2"), ("l", "0.6")):
        request = asked(f"tg-{key}")
        request.principal = builders.principal(key_id=key)
        request.account.usage = Usage(0, 0)
        settle(made, await made.claim(of, request), request, cost=cost)
    await made.watch(of)
    page = telemetry.page()
    assert b'tollgate_budget_spent_ratio{budget="a"} 0.4' in page
    assert b'tollgate_budget_spent_ratio{budget="b"} 0.7' in page
    assert b'tollgate_budget_left{budget="a",currency="USD"} 0.6' in page
    assert b'tollgate_budget_left{budget="b",currency="USD"} 0.3' in page
    assert (await stands(made, of, "a")).total == 4 * 10**8
    await made.close()


async def test_a_window_that_begins_is_told_before_anybody_asks() -> None:
    now, spend = [NOW], Recorded(9 * 10**8)
    made, telemetry = budgeting(spend, clock=lambda: now[0])
    of = budgets(a={"per": "day"}, b={"per": "day", "each": "key"})
    await made.claim(of, asked())
    await made.watch(of)
    assert told_of(telemetry) == {"a": (0.9, 0.1), "b": (0.9, 0.1)}
    now[0], spend.says = NOW + 86_400, 10**8
    await made.watch(of)
    assert told_of(telemetry) == {"a": (0.1, 0.9)}  # whose key has spent anything of the other one, nobody knows


async def test_what_a_reload_makes_of_budgets_is_told_by_the_next_look() -> None:
    (made, telemetry), of = budgeting(Recorded(5 * 10**8)), budgets(a={"per": "day"}, b={})
    await made.watch(of)
    assert told_of(telemetry) == {"a": (0.5, 0.5), "b": (0.5, 0.5)}
    await made.watch(budgets(a={"per": "day", "amount": "2"}, c={"amount": "5"}))
    assert told_of(telemetry) == {"a": (0.25, 1.5), "c": (0.1, 4.5)}
    await made.watch(None)
    assert told_of(telemetry) == {}


def told_of(telemetry: Telemetry) -> dict[str, tuple[float, float]]:
    """By budget, the part that is spent and what is left, as the page has them."""
    page = telemetry.page().decode()
    spent = dict(re.findall(r'tollgate_budget_spent_ratio{budget="(.)"} (.+)', page))
    left = dict(re.findall(r'tollgate_budget_left{budget="(.)",currency="USD"} (.+)', page))
    assert spent.keys() == left.keys()
    return {name: (float(spent[name]), float(left[name])) for name in spent}


async def test_what_is_known_before_anybody_asks_is_loaded_at_the_start() -> None:
    spend = Recorded(5)
    (made, _), of = budgeting(spend), budgets(a={}, b={"each": "key"})
    await made.prepare(None)
    await made.prepare(of)
    assert (spend.asked, await stands(made, of, "a")) == (1, Standing(5, 0))
    made.book.settle("unknown", [Charge("nobody", 0, 1)])
