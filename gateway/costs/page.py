"""A page about costs that somebody in finance reads without help: one HTML file, no network, no script.

What it says and in which order stands in `page.html.j2`; this module works out the numbers. Amounts are rounded for
reading alone, half to even, and each one shows its exact value when it is pointed at.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import resources
from itertools import accumulate

import jinja2

from gateway.costs import plots
from gateway.costs.forecast import LEVEL, Forecast, NoForecast
from gateway.costs.plots import Range, Series
from gateway.costs.report import IDLE_CENTRE, METHODS, OVERHEAD_CENTRE, QUALITY, SERVE, Report, Row, centre_of, report
from gateway.costs.sums import allocated, list_cost, loaded, summed
from gateway.stores.cost_lines import CostLine

BY = ("team", "purpose", "day", "pool")
"""What the page's lines must be grouped by."""
SHOWN, COLOURED = 12, 5
"""Teams in the table before the others are folded, and teams with a colour of their own."""
WIDTHS = {"wide": 816, "narrow": 350}
"""Each plot is drawn twice, for wide and for narrow screens."""
DAYS = 92
"""A longer period is drawn by months."""
CENT, MILL = Decimal("0.01"), Decimal("0.0001")
CENTRE_NAMES = {
    QUALITY: ("quality", "Quality (evaluation and probes)"),
    OVERHEAD_CENTRE: ("overhead", "Overhead (failed attempts)"),
    IDLE_CENTRE: ("idle", "Idle (paid, and not used)"),
}


@dataclass(frozen=True, slots=True)
class Sheet:
    """A further table, ready to be shown: headings, rows of text, and what has to be said of it."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    said: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a page is made of. `first` and `last` are the days of the period, both within it; `notes` are report's.

    `last_day` is how much of the last one of `spent_by_day` is over.
    """

    lines: Sequence[CostLine]
    first: date
    last: date
    made_at: float
    forecast: Forecast | NoForecast | None
    month_days: Sequence[date]
    spent_by_day: Sequence[Decimal]
    notes: Sequence[str]
    last_day: Decimal = Decimal(1)
    open_hours: str | None = None
    sheets: Sequence[Sheet] = ()


def render(content: Content) -> str:
    """The page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "money": money,
        "percent": percent,
        "share": share,
        "span": span,
        "exact": exact,
        "count": lambda number: f"{number:,}",
    }
    text = resources.files("gateway.costs").joinpath("page.html.j2").read_text(encoding="utf-8")
    teams = report(("team",), content.lines)
    asked = [row for row in teams.rows if row.centre == SERVE]
    centres = {name: teams.centre(name) for name in (SERVE, QUALITY, OVERHEAD_CENTRE, IDLE_CENTRE)}
    paid = _paid(teams.total.line)
    return environment.from_string(text).render(
        content=content,
        period=_period(content.first, content.last),
        made_at=datetime.fromtimestamp(content.made_at, UTC).strftime("%d %B %Y, %H:%M UTC"),
        paid=paid,
        named=centres[SERVE].allocated + centres[QUALITY].allocated,
        requests=teams.total.line.requests,
        centres=centres,
        centre_names=CENTRE_NAMES,
        share_of_paid={name: line.allocated / paid if paid else None for name, line in centres.items()},
        teams=asked,
        shown=asked[:SHOWN],
        folded=asked[SHOWN:],
        folded_line=summed({}, (row.line for row in asked[SHOWN:])),
        list_total=list_cost(teams.total.line),
        forecast=content.forecast if isinstance(content.forecast, Forecast) else None,
        no_forecast=content.forecast if isinstance(content.forecast, NoForecast) else None,
        level=LEVEL,
        methods=list(METHODS.values()),
        plots=_plots(content, teams, asked),
        legend=_legend(asked),
        list_cost=list_cost,
        allocated=allocated,
        loaded=loaded,
    )


def _paid(total: CostLine) -> Decimal | None:
    """What GPUs cost; None where no replica-hour is known: nothing was allocated, and not because GPUs are free."""
    free = total.requests > 0 and not total.unallocated
    return total.allocated if total.allocated or free else None


def money(amount: Decimal | None) -> str:
    """To the cent, for reading: `unknown` where it is, and never 0.00 for what is more than nothing."""
    if amount is None:
        return "unknown"
    if 0 < abs(amount) <= CENT / 2:
        return "< 0.01" if amount > 0 else "> -0.01"
    return f"{amount.quantize(CENT):,f}"


def percent(part: Decimal | None) -> str:
    """A share of 1, for reading in a sentence."""
    return share(part) if part is None or part < Decimal("0.1") else f"{(part * 100).quantize(Decimal(1)):f}\u00a0%"


def share(part: Decimal | None) -> str:
    """A share of 1, for comparing with others."""
    if part is None:
        return "unknown"
    return "<\u00a00.1\u00a0%" if 0 < part < MILL * 5 else f"{(part * 100).quantize(Decimal('0.1')):f}\u00a0%"


def span(parts: tuple[Decimal, Decimal]) -> str:
    """From one share to another: 12.1 to 15.0 %."""
    low, high = (share(part) for part in parts)
    return high if low == high else f"{low[:-2]} to {high}"


def exact(amount: Decimal | None) -> str:
    """All of an amount."""
    return "unknown" if amount is None else f"{amount:,f}"


def _period(first: date, last: date) -> str:
    if first == last:
        return f"{first.day} {first:%B %Y}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {last.day} {last:%B %Y}"
    if first.year == last.year:
        return f"{first.day} {first:%B} to {last.day} {last:%B %Y}"
    return f"{first.day} {first:%B %Y} to {last.day} {last:%B %Y}"


def _legend(asked: Sequence[Row]) -> list[tuple[str, str]]:
    """Colours and what they stand for, as in the plot of days."""
    named = [(f"c{number}", row.line.group["team"]) for number, row in enumerate(asked[:COLOURED], start=1)]
    others = [("other", f"{len(asked) - COLOURED} other teams")] if len(asked) > COLOURED else []
    return named + others + list(CENTRE_NAMES.values())


def _plots(content: Content, teams: Report, asked: Sequence[Row]) -> dict[str, dict[str, str]]:
    """SVG by name and by width."""
    days, series = _series(content, asked)
    spread = _spreads(asked)
    idle = _idle(content.lines)
    made: dict[str, dict[str, str]] = {"days": {}, "spread": {}, "idle": {}, "month": {}}
    total = money(teams.total.line.allocated)
    for size, width in WIDTHS.items():
        made["days"][size] = plots.stacked(days, series, width, "Cost by day", f"{total} USD in all, by team")
        if spread:
            most = max(row.high for row in spread)
            said = "; ".join(f"{row.name}: {row.said}" for row in spread)
            made["spread"][size] = plots.ranges(spread, most, width, "Share of each team by method", said)
        if idle:
            said = "; ".join(f"{row.name}: {row.said}" for row in idle)
            made["idle"][size] = plots.ranges(idle, Decimal(1), width, "Share of idle time", said, "idle")
        if content.month_days:
            made["month"][size] = _month(content, width)
    return made


def _month(content: Content, width: int) -> str:
    found = content.forecast
    end = (found.expected, found.low, found.high) if isinstance(found, Forecast) else None
    said = f"{money(content.forecast.spent if content.forecast else None)} USD so far"
    if end is not None:
        said += f", {money(end[0])} USD expected, between {money(end[1])} and {money(end[2])} USD"
    spent = list(accumulate(content.spent_by_day))
    labels = [_label(day, False) for day in content.month_days]
    return plots.course(labels, spent, end, width, "Cost of the month, added up", said, content.last_day)


def _series(content: Content, asked: Sequence[Row]) -> tuple[list[str], list[Series]]:
    """Labels of days (of months, where there are many), and the amounts of each colour."""
    every = [content.first + timedelta(days=at) for at in range((content.last - content.first).days + 1)]
    monthly = len(every) > DAYS
    labels = list(dict.fromkeys(_label(day, monthly) for day in every))
    colours = {row.line.group["team"]: f"c{number}" for number, row in enumerate(asked[:COLOURED], start=1)}
    amounts: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for line in content.lines:
        centre = centre_of(line)
        style = colours.get(line.group["team"], "other") if centre == SERVE else CENTRE_NAMES[centre][0]
        amounts[style][_label(date.fromisoformat(line.group["day"]), monthly)] += line.allocated
    return labels, [Series(name, style, [amounts[style][label] for label in labels]) for style, name in _legend(asked)]


def _label(day: date, monthly: bool) -> str:
    return f"{day:%b %Y}" if monthly else f"{day.day} {day:%b}"


def _spreads(asked: Sequence[Row]) -> list[Range]:
    """How far the shares of the largest teams move."""
    return [
        Range(
            row.line.group["team"], *row.spread, row.shares["allocated"],
            f"{share(row.shares['allocated'])} ({span(row.spread)})",
        )
        for row in asked[:8]
        if row.shares is not None and row.spread is not None
    ]  # fmt: skip


def _idle(lines: Iterable[CostLine]) -> list[Range]:
    """The idle share of each pool, by money."""
    paid: dict[str, Decimal] = defaultdict(Decimal)
    idle: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        pool = line.group["pool"]
        paid[pool] += line.allocated
        idle[pool] += line.allocated if centre_of(line) == IDLE_CENTRE else Decimal(0)
    rows = []
    for pool, cost in sorted(paid.items()):
        if cost:
            part = idle[pool] / cost
            rows.append(Range(pool, Decimal(0), part, part, f"{share(part)} of {money(cost)} USD"))
    return rows
