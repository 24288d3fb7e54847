"""Plots as inline SVG: no script, no network, no float. Colours are CSS classes, so that a page can be light or dark.

Each is drawn at a stated width in pixels with text of 12 px, so that a narrow page gets a plot of its own and not one
that was scaled until nobody can read it. Everything that is named is escaped, and each plot has a title and says in
words what it shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from html import escape

LEFT, BOTTOM, TOP = 64, 24, 12
BAR, LABEL = 14, 18
STEPS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
LINES = 4
"""Grid lines above zero, at most."""
CHARACTER = 7
"""Width of a character of 12 px, about."""


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a stacked plot: its class in the page's style sheet, and an amount for each day."""

    name: str
    style: str
    amounts: Sequence[Decimal]


@dataclass(frozen=True, slots=True)
class Range:
    """One row of a plot of ranges: from `low` to `high` out of `most`, with a mark where it stands; `said` in words."""

    name: str
    low: Decimal
    high: Decimal
    mark: Decimal
    said: str


def scale(most: Decimal) -> list[Decimal]:
    """Round numbers from zero to at least `most`, a few of them."""
    if most <= 0:
        return [Decimal(0), Decimal(1)]
    power = Decimal(10) ** (most / LINES).adjusted()
    step = next(power * factor for factor in STEPS if power * factor * LINES >= most)
    count = int((most / step).to_integral_value(ROUND_CEILING))
    return [step * number for number in range(count + 1)]


def short(amount: Decimal) -> str:
    """An amount on an axis: 0.05, 20, 1,500."""
    text = f"{amount:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def stacked(days: Sequence[str], series: Sequence[Series], width: int, title: str, said: str) -> str:
    """A bar for each day, its parts one above the other, the first of them below."""
    height = 260
    totals = [sum((one.amounts[at] for one in series), Decimal(0)) for at in range(len(days))]
    ticks = scale(max(totals, default=Decimal(0)))
    place = Decimal(width - LEFT) / max(1, len(days))
    bar = max(Decimal(1), place * Decimal("0.8"))
    parts = [_grid(ticks, width, height), _days(days, place, height)]
    for at, day in enumerate(days):
        floor = Decimal(0)
        for one in series:
            if (amount := one.amounts[at]) > 0:
                top, bottom = _y(floor + amount, ticks, height), _y(floor, ticks, height)
                parts.append(
                    f'<rect class="{one.style}" x="{_n(LEFT + place * at)}" y="{_n(top)}" width="{_n(bar)}" '
                    f'height="{_n(bottom - top)}"><title>{escape(f"{one.name}, {day}: {amount:,.2f}")}</title></rect>'
                )
                floor += amount
    return _svg(width, height, title, said, parts)


def course(
    days: Sequence[str],
    spent: Sequence[Decimal],
    end: tuple[Decimal, Decimal, Decimal] | None,
    width: int,
    title: str,
    said: str,
    last: Decimal = Decimal(1),
) -> str:
    """Money that adds up day by day, and from where it stands now to the `end` of the month: expected, low, high.

    `last` is how much of the last day of `spent` is over.
    """
    height = 240
    ticks = scale(max([*spent, *(end or ())], default=Decimal(0)))
    place = Decimal(width - LEFT) / max(1, len(days))
    parts = [_grid(ticks, width, height), _days(days, place, height)]
    points = [(Decimal(LEFT), _y(Decimal(0), ticks, height))]
    points += [(LEFT + place * (at + 1), _y(amount, ticks, height)) for at, amount in enumerate(spent)]
    if spent:
        points[-1] = (points[-1][0] - place * (1 - last), points[-1][1])
    if end is not None:
        x, y = points[-1]
        expected, low, high = (_y(amount, ticks, height) for amount in end)
        parts.append(f'<polygon class="band" points="{_n(x)},{_n(y)} {width},{_n(high)} {width},{_n(low)}"/>')
        parts.append(f'<line class="expected" x1="{_n(x)}" y1="{_n(y)}" x2="{width}" y2="{_n(expected)}"/>')
    parts.append(f'<polyline class="spent" points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in points)}"/>')
    return _svg(width, height, title, said, parts)


def ranges(rows: Sequence[Range], most: Decimal, width: int, title: str, said: str, style: str = "span") -> str:
    """A line for each row, its name and words above it."""
    step = BAR + LABEL + 10
    whole = most if most > 0 else Decimal(1)
    parts = []
    for at, row in enumerate(rows):
        y = at * step + LABEL
        low, high, mark = (width * amount / whole for amount in (row.low, row.high, row.mark))
        name = clipped(row.name, width // CHARACTER - len(row.said) - 2)
        parts.append(
            f'<text x="0" y="{y - 5}">{escape(name)}</text>'
            f'<text x="{width}" y="{y - 5}" text-anchor="end">{escape(row.said)}</text>'
            f'<rect class="track" x="0" y="{y}" width="{width}" height="{BAR}"/>'
            f'<rect class="{style}" x="{_n(low)}" y="{y}" width="{_n(max(high - low, Decimal(1)))}" height="{BAR}">'
            f"<title>{escape(f'{row.name}: {row.said}')}</title></rect>"
        )
        if row.low < row.high and style == "span":
            parts.append(f'<rect class="mark" x="{_n(max(Decimal(0), mark - 2))}" y="{y - 2}" width="4" height="18"/>')
    return _svg(width, max(step, len(rows) * step), title, said, parts)


def clipped(text: str, length: int) -> str:
    """Text of at most so many characters."""
    return text if len(text) <= length else text[: max(1, length - 1)] + "…"


def _svg(width: int, height: int, title: str, said: str, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'aria-label="{escape(f"{title}. {said}")}">{"".join(parts)}</svg>'
    )


def _grid(ticks: Sequence[Decimal], width: int, height: int) -> str:
    lines = []
    for tick in ticks:
        y = _y(tick, ticks, height)
        lines.append(f'<line class="grid" x1="{LEFT}" y1="{_n(y)}" x2="{width}" y2="{_n(y)}"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{_n(y + 4)}" text-anchor="end">{short(tick)}</text>')
    return "".join(lines)


def _days(days: Sequence[str], place: Decimal, height: int) -> str:
    """Names of days below, as many as there is room for."""
    every = max(1, int((Decimal(52) / place).to_integral_value(ROUND_CEILING)))
    return "".join(
        f'<text x="{_n(LEFT + place * at)}" y="{height - 6}">{escape(day)}</text>'
        for at, day in enumerate(days)
        if at % every == 0 and LEFT + place * at + len(day) * CHARACTER <= LEFT + place * len(days)
    )


def _y(amount: Decimal, ticks: Sequence[Decimal], height: int) -> Decimal:
    return height - BOTTOM - amount / ticks[-1] * (height - BOTTOM - TOP)


def _n(number: Decimal | int) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{number:.1f}"
