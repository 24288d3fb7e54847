"""Plots as inline SVG: no script, no network. Colours are CSS classes, so that a page can be light, dark or printed.

What a colour says, a shape or a word says too. Each plot says in words what it shows, for those who do not see it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from evals.report.texts import clean
from evals.report.view import Condition, Quantity, Slice, Spread

WIDTH = 270
_EDGE = 14
_MIDDLE, _HEIGHT = 16, 44
_BARS, _GAP, _AXIS = 46, 22, 20
_SIGNIFICANT = 3


@dataclass(frozen=True, slots=True)
class Scale:
    """From a figure to a place: `low` is at the left edge, `high` at the right one."""

    low: float
    high: float
    width: int = WIDTH

    def at(self, value: float) -> float:
        """The place of a value in pixels; a value outside is put at the edge."""
        share = (value - self.low) / (self.high - self.low)
        return _EDGE + min(1.0, max(0.0, share)) * (self.width - 2 * _EDGE)


def scale_of(rows: Iterable[Condition | Slice], *, anchors: Sequence[float]) -> Scale:
    """One scale for rows that are to be compared: all their intervals, their lines, and the `anchors`."""
    values = list(anchors)
    for row in rows:
        line = row.line if isinstance(row, Condition) else None
        values += [v for v in (row.lower, row.upper, row.estimate, line) if v is not None and math.isfinite(v)]
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or 0.05
    return Scale(low - room, high + room)


def interval(row: Condition | Slice, scale: Scale, zero: float | None) -> str:
    """A dot with its whiskers, against the line that decides. Empty where there is no estimate.

    A condition has figures below it; slices stand in a column under one `axis`.
    """
    if row.estimate is None:
        return ""
    condition = row if isinstance(row, Condition) else None
    line = condition.line if condition else None
    parts = [f'<line class="rail" x1="{_EDGE}" x2="{scale.width - _EDGE}" y1="{_MIDDLE}" y2="{_MIDDLE}"/>']
    if zero is not None:
        parts.append(_upright("zero", scale.at(zero)))
    if condition is not None and line is not None:
        parts += _line(condition, line, scale)
    if row.lower is not None and row.upper is not None:
        parts += _whisker(scale.at(row.lower), scale.at(row.upper))
    shape = condition.verdict if condition and condition.verdict else "none"
    parts.append(f'<circle class="dot v-{shape}" cx="{_n(scale.at(row.estimate))}" cy="{_MIDDLE}" r="5.5"/>')
    if condition is None:
        return _svg(scale.width, 2 * _MIDDLE, _said(row), parts)
    marks = {value for value in (zero, line) if value is not None} or {row.estimate}
    parts += _labels(sorted(marks), scale, 41)
    return _svg(scale.width, _HEIGHT, _said(row), parts)


def axis(scale: Scale, zero: float | None) -> str:
    """The ends of a scale, and its zero."""
    room = (scale.high - scale.low) * 0.06 / 1.12
    marks = sorted({scale.low + room, scale.high - room} | ({zero} if zero is not None else set()))
    said = f"Scale from {short(marks[0])} to {short(marks[-1])}"
    return _svg(scale.width, 16, said, _labels(marks, scale, 12))


def _line(row: Condition, line: float, scale: Scale) -> list[str]:
    """The line that decides, and the side of it that is not allowed."""
    at, edge = scale.at(line), scale.width - _EDGE
    left, right = (at, edge) if row.lower_is_better else (_EDGE, at)
    barred = f'<rect class="barred" x="{_n(left)}" y="5" width="{_n(max(0.0, right - left))}" height="22"/>'
    return [barred, _upright("limit", at)]


def _whisker(low: float, high: float) -> list[str]:
    ends = "".join(f'<line class="whisker" x1="{_n(x)}" x2="{_n(x)}" y1="11" y2="21"/>' for x in (low, high))
    return [f'<line class="whisker" x1="{_n(low)}" x2="{_n(high)}" y1="{_MIDDLE}" y2="{_MIDDLE}"/>', ends]


def _upright(style: str, x: float) -> str:
    return f'<line class="{style}" x1="{_n(x)}" x2="{_n(x)}" y1="4" y2="28"/>'


def _labels(values: Sequence[float], scale: Scale, y: int) -> list[str]:
    """Figures below the plot, as many as there is room for, none over another."""
    found, reached = [], -math.inf
    for value in values:
        text = short(value)
        half = len(text) * 3.4
        x = min(scale.width - half, max(half, scale.at(value)))
        if x - half > reached:
            found.append(f'<text x="{_n(x)}" y="{y}" text-anchor="middle">{escape(text)}</text>')
            reached = x + half + 4
    return found


def _said(row: Condition | Slice) -> str:
    name = row.label if isinstance(row, Condition) else f"{row.metric} of {row.tag}"
    text = f"{name}: estimate {row.estimate:.4f}"
    if row.lower is not None and row.upper is not None:
        text += f", between {row.lower:.4f} and {row.upper:.4f}"
    if isinstance(row, Condition) and row.asked:
        text += f"; asked for is {row.asked}"
    return text


def histogram(quantity: Quantity, width: int = 330) -> str:
    """The bars of each arm above a shared axis, with marks at its median and 95th percentile."""
    most = max((max(spread.counts) / spread.count for spread in quantity.spreads), default=1.0)
    height = len(quantity.spreads) * (_BARS + _GAP) + _AXIS
    parts: list[str] = []
    for position, spread in enumerate(quantity.spreads):
        parts += _bars(spread, quantity, position * (_BARS + _GAP) + _GAP, width, most)
    parts += _axis(quantity, width, height)
    said = "; ".join(
        f"{one.arm}: median {short(one.quantiles['p50'])}, 95th percentile {short(one.quantiles['p95'])}, "
        f"99th {short(one.quantiles['p99'])}"
        for one in quantity.spreads
    )
    return _svg(width, height, f"{quantity.name} ({quantity.unit or 'in the currency of the prices'}). {said}", parts)


def _bars(spread: Spread, quantity: Quantity, top: int, width: int, most: float) -> list[str]:
    floor, step = top + _BARS, width / len(spread.counts)
    bars = ""
    for at, count in enumerate(spread.counts):
        if count:
            high = max(1.0, count / spread.count / most * _BARS)
            bars += f"M{_n(at * step + 0.5)} {floor}v{_n(-high)}h{_n(step - 1)}v{_n(high)}z"
    parts = [
        f'<text x="0" y="{top - 7}">{spread.arm}</text>',
        f'<path class="bars {spread.arm}" d="{bars}"/>',
        f'<line class="zero" x1="0" x2="{width}" y1="{floor}" y2="{floor}"/>',
    ]
    reached = len(spread.arm) * 7.0
    for name in ("p50", "p95"):
        x = min(width - 1.0, (spread.quantiles[name] - quantity.start) / quantity.width * step)
        parts.append(f'<line class="quantile" x1="{_n(x)}" x2="{_n(x)}" y1="{top - 4}" y2="{floor}"/>')
        text = f"{name} {short(spread.quantiles[name])}"
        place = min(max(x - len(text) * 3.5, reached + 8), width - len(text) * 7.0)
        if place > reached:
            parts.append(f'<text x="{_n(place)}" y="{top - 7}">{escape(text)}</text>')
            reached = place + len(text) * 7.0
    return parts


def _axis(quantity: Quantity, width: int, height: int) -> list[str]:
    bins = len(quantity.spreads[0].counts)
    ends = [(0.0, quantity.start, "start"), (1.0, quantity.start + quantity.width * (bins - 1), "end")]
    middle = quantity.start + quantity.width * (bins - 1) / 2
    ticks = [ends[0], (0.5 * (bins - 1) / bins, middle, "middle"), ends[1]]
    return [
        f'<text x="{_n(share * width)}" y="{height - 5}" text-anchor="{anchor}">{short(value)}'
        f"{' or more' if anchor == 'end' else ''}</text>"
        for share, value, anchor in ticks
    ]


def parts_of_one(parts: Sequence[tuple[str, float]], width: int = WIDTH) -> str:
    """Shares of one as one bar, its parts named by class `p0`, `p1` and so on."""
    x, found = 0.0, []
    for position, (_, share) in enumerate(parts):
        found.append(f'<rect class="p{position}" x="{_n(x)}" y="0" width="{_n(share * width)}" height="14"/>')
        x += share * width
    return _svg(width, 14, "; ".join(f"{name}: {share:.0%}" for name, share in parts), found)


def short(value: float) -> str:
    """A figure of three significant digits, without an exponent where that is readable: 0.05, 1,240, 3.1e-06."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) < 1e-4:
        return f"{value:.{_SIGNIFICANT - 1}e}"
    digits = max(0, _SIGNIFICANT - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}".replace("-", "\u2212")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _svg(width: int, height: int, said: str, parts: Iterable[str]) -> str:
    label = escape(clean(said))
    return (
        f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" aria-label="{label}">'
        f"<title>{label}</title>{''.join(parts)}</svg>"
    )


def _n(number: float) -> str:
    return f"{number:.1f}"
