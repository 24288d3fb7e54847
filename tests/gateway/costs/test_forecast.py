"""The end of a month: known series, the interval, and too little to say anything."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.costs.forecast import DAY, WEEK, Forecast, NoForecast, month_end, month_of

FIRST, AFTER = month_of(1_793_500_800.0)
MONTH = (FIRST, AFTER)
HOURS = AFTER - FIRST


def _forecast(amounts: dict[int, Decimal], hours: int, before: int = 0) -> Forecast:
    found = month_end(amounts, (FIRST - before, FIRST + hours), MONTH)
    assert isinstance(found, Forecast)
    return found


def test_a_month_is_that_of_utc() -> None:
    assert HOURS == 30 * DAY
    assert month_of(FIRST * 3600.0) == MONTH
    assert month_of(FIRST * 3600.0 - 0.001)[1] == FIRST
    december = month_of(AFTER * 3600.0)
    assert (december[0], december[1] - december[0]) == (AFTER, 31 * DAY)
    assert month_of(december[1] * 3600.0)[0] == december[1]


def test_the_same_amount_each_hour_goes_on() -> None:
    found = _forecast({FIRST + at: Decimal("0.1") for at in range(72)}, 72)
    assert (found.method, found.remaining_hours) == ("run_rate", HOURS - 72)
    assert found.spent == Decimal("7.2")
    assert found.expected == found.low == found.high == Decimal("0.1") * HOURS


def test_from_two_weeks_on_each_hour_of_the_week_is_expected_for_itself() -> None:
    amounts = {FIRST + at: Decimal(at % WEEK) for at in range(2 * WEEK)}
    found = _forecast(amounts, 2 * WEEK)
    assert found.method == "hour_of_week"
    assert found.expected == sum(Decimal(at % WEEK) for at in range(HOURS))
    assert found.low == found.high == found.expected
    shorter = _forecast(amounts, 2 * WEEK - 1)
    assert shorter.method == "run_rate"
    assert shorter.low < shorter.expected < shorter.high


def test_hours_before_the_month_teach_and_are_not_spent() -> None:
    amounts = {FIRST - 2 * WEEK + at: Decimal(1 + at % WEEK) for at in range(2 * WEEK)}
    found = month_end(amounts, (FIRST - 2 * WEEK, FIRST), MONTH)
    assert isinstance(found, Forecast)
    assert found.spent == 0
    assert found.expected == sum(Decimal(1 + (2 * WEEK + at) % WEEK) for at in range(HOURS))


def test_the_interval_is_that_of_whole_days() -> None:
    # Days of 10 and 14: a mean of 12, s² = 8, t(1, 0.9) = 3.078, 28 days left.
    amounts = {FIRST: Decimal(10), FIRST + DAY: Decimal(14)}
    found = _forecast(amounts, 2 * DAY)
    assert found.expected == Decimal(24 + 28 * 12)
    margin = Decimal("3.078") * (Decimal(8) * 28 * (1 + Decimal(14))).sqrt()
    assert found.high == (found.expected + margin).quantize(Decimal("1e-9"))
    assert found.low == max(found.spent, found.expected - margin).quantize(Decimal("1e-9"))


@pytest.mark.parametrize("hours", [0, 1, 47])
def test_less_than_two_days_are_too_little(hours: int) -> None:
    found = month_end({FIRST: Decimal(5)}, (FIRST, FIRST + hours), MONTH)
    assert isinstance(found, NoForecast)
    assert f"{hours} hours are on the books" in found.reason
    assert found.spent == (5 if hours else 0)


@pytest.mark.parametrize(("hours", "why"), [(0, "0 hours"), (72, "no amount of any hour"), (HOURS, "no amount")])
def test_hours_without_any_amount_are_unknown_and_not_free(hours: int, why: str) -> None:
    found = month_end({}, (FIRST, FIRST + hours), MONTH)
    assert isinstance(found, NoForecast)
    assert found.spent is None
    assert found.reason.startswith(why)


def test_a_month_that_is_over_needs_no_forecast() -> None:
    found = _forecast({FIRST: Decimal(3), AFTER: Decimal(100)}, HOURS + 5)
    assert (found.method, found.spent, found.expected, found.remaining_hours) == ("over", 3, 3, 0)


@given(
    st.lists(st.lists(st.integers(0, 10**15), min_size=60, max_size=60), min_size=1, max_size=4),
    st.integers(48, 60),
)
def test_teams_add_up_to_the_total_and_nothing_that_is_spent_is_forgotten(teams: list[list[int]], hours: int) -> None:
    of = [{FIRST + at: Decimal(nano).scaleb(-9) for at, nano in enumerate(each)} for each in teams]
    total = {FIRST + at: sum((each[FIRST + at] for each in of), Decimal(0)) for at in range(60)}
    parts, whole = [_forecast(each, hours) for each in of], _forecast(total, hours)
    assert sum(each.spent for each in parts) == whole.spent
    assert abs(sum(each.expected for each in parts) - whole.expected) <= Decimal("1e-9") * (len(parts) + 1)
    assert all(each.spent <= each.low <= each.expected <= each.high for each in [*parts, whole])
