"""What a month will have cost at its end, from its hours so far: a stated method, an interval, or a reason for neither.

Pure: hours and amounts in, amounts out. A trend is not followed, and a day is taken to say nothing about the next one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from gateway.contracts.prices import PLACES

HOUR_S, DAY, WEEK = 3600, 24, 168
ENOUGH = 2 * DAY
"""Hours that must have been seen: of one day nobody knows how days differ."""
WEEKLY = 2 * WEEK
"""Hours from which each hour of the week has been seen twice."""
LEVEL = "80 %"
"""How often the amount at the end lies within the interval, if days keep varying as they did."""

_QUANTILES = (
    "3.078", "1.886", "1.638", "1.533", "1.476", "1.440", "1.415", "1.397", "1.383", "1.372",
    "1.363", "1.356", "1.350", "1.345", "1.341", "1.337", "1.333", "1.330", "1.328", "1.325",
    "1.323", "1.321", "1.319", "1.318", "1.316", "1.315", "1.314", "1.313", "1.311", "1.310",
)  # fmt: skip
"""Student's t at 0.9, for 1, 2, … degrees of freedom."""
_NORMAL = "1.282"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Amounts at the end of a month: `spent` so far, `expected` in all, and between `low` and `high` at LEVEL.

    `hour_of_week` expects of each hour left what the same hour of other weeks cost, `run_rate` the mean of all hours.
    """

    spent: Decimal
    expected: Decimal
    low: Decimal
    high: Decimal
    method: Literal["hour_of_week", "run_rate", "over"]
    observed_hours: int
    remaining_hours: int


@dataclass(frozen=True, slots=True)
class NoForecast:
    """There is too little to say anything; `spent` is known all the same, unless no hour has an amount."""

    spent: Decimal | None
    reason: str


def month_of(seconds: float) -> tuple[int, int]:
    """The hours since the epoch at which the month (UTC) of a moment begins, and at which the next one does."""
    first = datetime.fromtimestamp(seconds, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return int(first.timestamp()) // HOUR_S, int(after.timestamp()) // HOUR_S


def month_end(
    amounts: Mapping[int, Decimal], observed: tuple[int, int], month: tuple[int, int]
) -> Forecast | NoForecast:
    """The amount at the end of `month`, given the `amounts` of the hours that were `observed`.

    Hours are counted since the epoch; both ranges exclude their end. An observed hour without an amount cost nothing,
    unless none has one: then nothing is known.
    """
    first, until = observed
    if not amounts:
        known = "no amount of any hour is known" if until - first >= ENOUGH else _too_few(until - first)
        return NoForecast(None, known)
    spent = sum((amount for hour, amount in amounts.items() if month[0] <= hour < min(month[1], until)), Decimal(0))
    hours, left = until - first, month[1] - max(month[0], until)
    if left <= 0:
        return Forecast(spent, spent, spent, spent, "over", hours, 0)
    if hours < ENOUGH:
        return NoForecast(spent, _too_few(hours))
    weekly = hours >= WEEKLY
    means = _means(amounts, first, until, WEEK if weekly else 1)
    expected = spent + sum((means[hour % len(means)] for hour in range(month[1] - left, month[1])), Decimal(0))
    margin = _margin(amounts, observed, means, Decimal(left) / DAY)
    return Forecast(
        spent,
        expected.quantize(PLACES),
        max(spent, expected - margin).quantize(PLACES),
        (expected + margin).quantize(PLACES),
        "hour_of_week" if weekly else "run_rate",
        hours,
        left,
    )


def _too_few(hours: int) -> str:
    return f"{max(0, hours)} hours are on the books: a forecast needs {ENOUGH}"


def _means(amounts: Mapping[int, Decimal], first: int, until: int, period: int) -> list[Decimal]:
    """The mean amount of the hours that have the same place in a period."""
    sums, counts = [Decimal(0)] * period, [0] * period
    for hour in range(first, until):
        sums[hour % period] += amounts.get(hour, Decimal(0))
        counts[hour % period] += 1
    return [total / count for total, count in zip(sums, counts, strict=True)]


def _margin(
    amounts: Mapping[int, Decimal], observed: tuple[int, int], means: list[Decimal], days_left: Decimal
) -> Decimal:
    """Half of the interval's width. s² is the variance of whole days around what the method expects of them; the sum of
    D further days differs from D times the mean of n by a variance of s² D (1 + D/n)."""
    first, until = observed
    days = (until - first) // DAY
    squares = Decimal(0)
    for day in range(days):
        hours = range(until - DAY * (day + 1), until - DAY * day)
        off = sum((amounts.get(hour, Decimal(0)) - means[hour % len(means)] for hour in hours), Decimal(0))
        squares += off * off
    freedom = days - (1 if len(means) == 1 else 7)
    quantile = Decimal(_QUANTILES[freedom - 1] if freedom <= len(_QUANTILES) else _NORMAL)
    return quantile * (squares / freedom * days_left * (1 + days_left / days)).sqrt()
