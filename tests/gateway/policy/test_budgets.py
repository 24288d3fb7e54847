"""Budgets: windows in wall time, who falls under which, and what a refused client is told."""

import math
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.budgets import PLANS, Budgets, Counter, Standing, compiled, money, refusal, window
from gateway.policy.ceilings import Ceiling, Rate
from gateway.policy.endpoints import CHAT
from gateway.policy.request import parse
from gateway.settings.budgets import BudgetConfig, Per
from gateway.settings.profile import A10G
from tests.gateway import builders
from tests.gateway.builders import NOW, principal

ZONES = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("Etc", "posix", "right")))


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def local(seconds: float, zone: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(zone)).isoformat()


def config(**changes: Any) -> BudgetConfig:
    return BudgetConfig(**{"amount": "10", "per": "day", **changes})


def counter(**changes: Any) -> Counter:
    made = Budgets({"daily": config(team="search", **changes)}, {"faq": Ceiling(1000, 1000)})
    return made.of("daily", "", NOW)


@pytest.mark.parametrize(
    ("per", "zone", "now", "since", "until"),
    [
        ("day", "UTC", "2026-11-22T12:00+00:00", "2026-11-22T00:00:00+00:00", "2026-11-23T00:00:00+00:00"),
        ("week", "UTC", "2026-11-22T12:00+00:00", "2026-11-16T00:00:00+00:00", "2026-11-23T00:00:00+00:00"),
        ("month", "UTC", "2026-12-31T23:59+00:00", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        ("day", "Asia/Kolkata", "2026-11-22T20:00+00:00", "2026-11-23T00:00:00+05:30", "2026-11-24T00:00:00+05:30"),
        # Clocks go forward: the day has 23 hours; back: 25.
        ("day", "Europe/Berlin", "2026-03-29T12:00+02:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00+01:00", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
        # Midnight itself is skipped: the day begins at one.
        (
            "day",
            "America/Sao_Paulo",
            "2018-11-04T12:00-02:00",
            "2018-11-04T01:00:00-02:00",
            "2018-11-05T00:00:00-02:00",
        ),
        # At midnight clocks go back to 23: the hour that comes twice belongs to the former day.
        (
            "day",
            "America/Sao_Paulo",
            "2018-02-17T23:30-03:00",
            "2018-02-17T00:00:00-02:00",
            "2018-02-18T00:00:00-03:00",
        ),
    ],
)
def test_windows_are_wall_time(per: Per, zone: str, now: str, since: str, until: str) -> None:
    found = window(per, zone, at(now))
    assert [local(each, zone) for each in found] == [since, until]


@given(st.sampled_from(ZONES), st.sampled_from(["day", "week", "month"]), st.integers(0, 4_000_000_000))
def test_every_moment_has_one_window_and_windows_meet(zone: str, per: Per, now: int) -> None:
    since, until = window(per, zone, now)
    assert since <= now < until
    assert window(per, zone, until)[0] == until
    assert window(per, zone, math.nextafter(until, 0.0)) == (since, until)
    assert window(per, zone, since) == (since, until)


def test_a_total_has_one_window() -> None:
    assert window("total", "UTC", NOW) == (0.0, math.inf)


def test_a_request_falls_under_every_budget_that_matches_it() -> None:
    configs = {
        "team": config(team="search"),
        "other": config(team="ads"),
        "key": config(key="k"),
        "model": config(model="faq"),
        "narrow": config(team="search", model="code"),
        "keys": config(each="key", team="search"),
        "teams": config(each="team", model="faq"),
    }
    made = Budgets(configs, {})
    found = {each.budget: (each.team, each.key, each.model) for each in made.plan(principal(), "faq", NOW)}
    assert found == {
        "team": ("search", None, None),
        "key": (None, "k", None),
        "model": (None, None, "faq"),
        "keys": ("search", "k", None),
        "teams": ("search", None, "faq"),
    }
    mine, others = (made.plan(principal(key_id=key), "faq", NOW) for key in ("k", "l"))
    assert {each.id for each in mine} & {each.id for each in others} == {
        each.id for each in mine if each.budget in ("team", "model", "teams")
    }


def test_a_plan_is_remembered_while_its_windows_last() -> None:
    made = Budgets({"day": config(team="search"), "all": config(team="search", per="total")}, {})
    first = made.plan(principal(), "faq", NOW)
    assert made.plan(principal(), "faq", NOW + 3600.0) is first
    tomorrow = made.plan(principal(), "faq", NOW + 86_400.0)
    assert [a.id == b.id for a, b in zip(first, tomorrow, strict=True)] == [False, True]


def test_a_clock_that_steps_back_over_an_edge_finds_the_former_counter() -> None:
    made = Budgets({"day": config(team="search")}, {})
    before, after, again = (
        made.plan(principal(), "faq", at(f"2026-11-2{now}+00:00"))[0].id for now in ("2T23:59", "3T00:01", "2T23:59")
    )
    assert before == again != after


def test_so_many_keys_do_not_fill_the_memory() -> None:
    made = Budgets({"day": config(team="search")}, {})
    for number in range(PLANS + 1):
        made._plans[str(number), "search", "faq"] = made._plans.get(("0", "search", "faq")) or made._planned(
            "0", "search", "faq", NOW
        )
    made.plan(principal(), "faq", NOW)
    assert len(made._plans) == 1


def test_a_budget_about_something_else_does_not_go_on_with_the_old_sums() -> None:
    assert counter().id == counter(amount="99", alerts=["0.5"], on_exceeded="warn").id
    assert (
        len({counter(**each).id for each in ({}, {"model": "faq"}, {"timezone": "Europe/Berlin"}, {"per": "total"})})
        == 4
    )


def test_claims_are_in_the_money_of_their_budgets() -> None:
    rate = Rate(1e9, A10G.step)
    made = Budgets(
        {
            "l": config(team="search"),
            "g": config(team="search", money="gpu"),
            "w": config(team="search", on_exceeded="warn"),
        },
        {"faq": Ceiling(10**9, 2 * 10**9, (rate,))},
        rates={"main": rate},
    )
    request = parse(b'{"model":"faq","messages":[],"max_tokens":100}', CHAT)
    listed, rented, warned = made.claims(made.plan(principal(), "faq", NOW), "faq", request, 0)
    assert listed.amount == (len(request.body) + 512) * 1000 + 100 * 2000
    assert rented.amount > 100 * A10G.step.base_s * 1e9
    assert (listed.hard, warned.hard) == (True, False)
    huge = parse(b'{"model":"faq","messages":[],"max_tokens":%d}' % (2**31 - 1), CHAT)
    amounts = [each.amount for each in made.claims(made.plan(principal(), "faq", NOW), "faq", huge, 0)]
    assert max(amounts) < 2**62


def test_room_is_what_nobody_has_spent_or_holds() -> None:
    standing = Standing()
    standing.reserve(30)
    assert standing.room(100) == 70
    standing.settle(30, 10)
    standing.corrected = 5
    assert (standing.room(100), standing.total) == (85, 15)


def test_who_meets_a_spent_budget_is_told_when_it_resets() -> None:
    error = refusal(counter(), 3_000_000_000, Standing(8_000_000_000), NOW, "USD")
    assert error.message == (
        "this request may cost up to 3.00 USD, and the budget 'daily' has 2.00 left of 10.00: it resets at "
        "2026-11-23T00:00:00Z; until then lower `max_tokens`, or ask for a larger budget"
    )
    assert (error.budget, error.left, error.resets) == ("daily", "2", "2026-11-23T00:00:00Z")
    assert (error.passes, error.retry_after) == (False, 12 * 3600)


def test_who_meets_running_requests_asks_again_soon() -> None:
    error = refusal(counter(), 3_000_000_000, Standing(1_000_000_000, 7_500_000_000), NOW, "USD")
    assert "has 9.00 left, of which running requests hold 7.50: ask again in 2 s" in error.message
    assert (error.passes, error.retry_after) == (True, 2)


def test_what_can_never_pass_is_told_so() -> None:
    error = refusal(counter(), 11_000_000_000, Standing(), NOW, "USD")
    assert "it can never pass" in error.message
    assert (error.passes, error.retry_after) == (False, None)
    total = refusal(counter(per="total"), 2, Standing(10_000_000_000), NOW, "USD")
    assert "does not reset" in total.message
    assert (total.resets, total.retry_after) == ("never", None)


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.00"), (1, "0.000000001"), (1_500_000_000, "1.50"), (12 * 10**9, "12.00"), (-5 * 10**8, "-0.50")],
)
def test_money_has_as_many_places_as_it_needs(nano: int, text: str) -> None:
    assert money(nano) == text


def test_a_deployment_without_budgets_has_none() -> None:
    assert compiled(builders.deployment(), {}) is None
    made = compiled(builders.deployment(budgets={"a": config(team="search")}), {})
    assert made is not None
    assert [each.budget for each in made.standing(NOW)] == ["a"]
