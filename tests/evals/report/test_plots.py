import re
from xml.etree import ElementTree as Xml

import pytest

from evals.report import plots
from evals.report.view import Quantity, Slice, Spread
from tests.evals.report.test_headline import row


def circles(svg: str) -> float:
    return float(re.findall(r'<circle[^>]* cx="([\d.]+)"', svg)[0])


def test_an_interval_stands_where_its_figures_are_and_says_them() -> None:
    condition = row(estimate=-0.01, lower=-0.03, upper=0.01, line=-0.02, asked="not worse by more than 0.02")
    scale = plots.scale_of([condition], anchors=(0.0,))
    svg = plots.interval(condition, scale, 0.0)
    root = Xml.fromstring(svg)
    assert (
        root.get("aria-label")
        == "exact: estimate -0.0100, between -0.0300 and 0.0100; asked for is not worse by more than 0.02"
    )
    assert circles(svg) == pytest.approx(scale.at(-0.01), abs=0.05)
    assert "−0.02</text>" in svg


@pytest.mark.parametrize(("down", "left"), [(False, True), (True, False)])
def test_the_side_that_is_not_allowed_is_shaded(down: bool, left: bool) -> None:
    condition = row(estimate=1.0, lower=0.9, upper=1.2, line=1.1, lower_is_better=down)
    svg = plots.interval(condition, plots.Scale(0.5, 1.5), None)
    x, width = map(float, re.findall(r'class="barred" x="([\d.]+)" y="5" width="([\d.]+)"', svg)[0])
    line = plots.Scale(0.5, 1.5).at(1.1)
    assert (x + width if left else x) == pytest.approx(line, abs=0.1)


def test_without_an_estimate_there_is_no_plot_and_a_point_is_no_error() -> None:
    assert plots.interval(row(), plots.Scale(0, 1), None) == ""
    same = row(estimate=1.0, lower=1.0, upper=1.0)
    assert "nan" not in plots.interval(same, plots.scale_of([same], anchors=()), None)


def test_hostile_names_are_escaped() -> None:
    evil = Slice("exact", "</title><script>", 3, None, 0.5, 0.5, 0.1, 0.9)
    svg = plots.interval(evil, plots.scale_of([evil], anchors=()), None)
    assert "<script" not in svg
    assert "&lt;/title&gt;&lt;script&gt;" in Xml.tostring(Xml.fromstring(svg), encoding="unicode")


def test_a_histogram_draws_every_arm_and_says_its_quantiles() -> None:
    quantiles = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 9.0}
    spreads = tuple(Spread(arm, 4, 0, 0, 1.0, quantiles, (1, 2, 0, 1)) for arm in ("baseline", "candidate"))
    svg = plots.histogram(Quantity("Latency", "s", 0.0, 1.0, spreads))
    assert "candidate: median 1, 95th percentile 2, 99th 3" in str(Xml.fromstring(svg).get("aria-label"))
    assert re.findall(r'class="bars (\w+)"', svg) == ["baseline", "candidate"]
    assert "3 or more" in svg


def test_parts_fill_the_bar() -> None:
    svg = plots.parts_of_one([("samples", 0.75), ("judge", 0.25)], width=200)
    assert sum(map(float, re.findall(r' width="([\d.]+)" height="14"/>', svg))) == 200
    assert "samples: 75%; judge: 25%" in svg


def test_an_axis_names_its_ends_and_zero() -> None:
    scale = plots.scale_of([Slice("m", "t", 3, None, 0.5, -0.1, -0.2, 0.1)], anchors=(0.0,))
    assert re.findall(">([^<>]+)</text>", plots.axis(scale, 0.0)) == ["−0.2", "0", "0.1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.05, "0.05"), (-0.0301, "−0.0301"), (1240.4, "1,240"), (0.00000312, "3.12e-06"), (2.0, "2")],
)
def test_short_figures(value: float, text: str) -> None:
    assert plots.short(value) == text
