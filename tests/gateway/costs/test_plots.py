"""Plots: well-formed SVG, escaped names, and axes of round numbers."""

import itertools
import xml.etree.ElementTree as ET
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.costs import plots
from gateway.costs.plots import Range, Series

EVIL = '<script>alert("x")</script>&'


def _rects(text: str, style: str) -> list[ET.Element]:
    return [each for each in ET.fromstring(text).iter() if each.get("class") == style]


@given(st.decimals(min_value="1e-9", max_value="1e15", places=9))
def test_an_axis_has_a_few_round_numbers_and_reaches_far_enough(most: Decimal) -> None:
    ticks = plots.scale(most)
    assert ticks[0] == 0
    assert ticks[-1] >= most > ticks[-2]
    assert 2 <= len(ticks) <= plots.LINES + 1
    assert {ticks[1].normalize().as_tuple().digits} <= {(1,), (2,), (5,), (2, 5)}


def test_an_axis_of_nothing_is_one() -> None:
    assert plots.scale(Decimal(0)) == [0, 1]
    assert [plots.short(Decimal(text)) for text in ("0.050", "20", "1500", "1E+3")] == ["0.05", "20", "1,500", "1,000"]


def test_parts_of_a_day_stand_on_each_other_and_add_up() -> None:
    series = [Series(EVIL, "c1", [Decimal(1), Decimal(0)]), Series("idle", "idle", [Decimal(3), Decimal(4)])]
    text = plots.stacked(["1 Nov", "2 Nov"], series, 720, "Cost", EVIL)
    assert "<script" not in text
    (first,) = _rects(text, "c1")
    idle = _rects(text, "idle")
    height = [Decimal(each.get("height", "")) for each in (first, *idle)]
    assert abs(height[0] * 3 - height[1]) < 1
    assert abs(height[0] + height[1] - height[2]) < 1
    assert abs(Decimal(idle[0].get("y", "")) + height[1] - Decimal(first.get("y", ""))) < 1
    assert ET.fromstring(text).get("role") == "img"
    assert EVIL in (ET.fromstring(text).get("aria-label") or "")


@pytest.mark.parametrize("days", [0, 1, 31, 366])
@pytest.mark.parametrize("width", [350, 816])
def test_any_number_of_days_fits(days: int, width: int) -> None:
    series = [Series("a", "c1", [Decimal(1)] * days)]
    labels = [f"{day} Nov" for day in range(days)]
    for text in (
        plots.stacked(labels, series, width, "t", "s"),
        plots.course(labels, [Decimal(1)] * days, (Decimal(3), Decimal(2), Decimal(4)), width, "t", "s"),
    ):
        tree = ET.fromstring(text)
        named = [each for each in tree.iter() if each.tag == "text" and each.get("text-anchor") is None]
        places = [Decimal(each.get("x", "")) for each in named]
        assert all(after - before > 40 for before, after in itertools.pairwise(places))
        assert len(named) >= min(1, days)


def test_a_forecast_is_a_band_around_a_line_and_is_left_out_where_there_is_none() -> None:
    end = (Decimal(6), Decimal(5), Decimal(8))
    with_end = plots.course(["1 Nov", "2 Nov"], [Decimal(1)], end, 400, "t", "s")
    assert len(_rects(with_end, "band")) == len(_rects(with_end, "expected")) == 1
    half = plots.course(["1 Nov", "2 Nov"], [Decimal(1), Decimal(2)], end, 464, "t", "s", Decimal("0.5"))
    (line,) = _rects(half, "spent")
    assert [point.split(",")[0] for point in (line.get("points") or "").split()] == ["64.0", "264.0", "364.0"]
    assert not _rects(plots.course(["1 Nov"], [Decimal(1)], None, 400, "t", "s"), "band")


def test_ranges_are_drawn_to_one_scale_and_long_names_are_clipped() -> None:
    rows = [
        Range(EVIL * 20, Decimal("0.1"), Decimal("0.5"), Decimal("0.2"), "said"),
        Range("b", *[Decimal("0.5")] * 3, "x"),
    ]
    text = plots.ranges(rows, Decimal("0.5"), 400, "t", "s")
    assert [each.get("width") for each in _rects(text, "span")] == ["320.0", "1.0"]
    (mark,) = _rects(text, "mark")
    assert mark.get("x") == "158.0"
    assert "…" in text
    assert ET.fromstring(plots.ranges([], Decimal(0), 400, "t", "s")).get("width") == "400"


def test_clipping_keeps_what_fits() -> None:
    assert [plots.clipped("abcdef", size) for size in (6, 4, 0)] == ["abcdef", "abc…", "a…"]
