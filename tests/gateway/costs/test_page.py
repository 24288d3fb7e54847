"""The page: numbers that agree with the report, escaped names, many teams folded, and nothing from a network."""

import html
import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest

from gateway.costs import page
from gateway.costs.forecast import Forecast, NoForecast
from gateway.costs.page import Content, Sheet
from gateway.costs.report import notes, report
from gateway.stores.cost_lines import CostLine
from tests.gateway.costed import cost_line, month, nobody

FIRST = date(2026, 11, 1)
DAYS = [FIRST + timedelta(days=at) for at in range(30)]
EVIL = "<script>alert('x')</script>"
FORECAST = Forecast(Decimal(5), Decimal(9), Decimal(8), Decimal(11), "run_rate", 72, 600)


def _page(lines: list[CostLine], **changes: Any) -> str:
    content = Content(
        lines=lines,
        first=FIRST,
        last=date(2026, 11, 24),
        made_at=1_795_400_000.0,
        forecast=FORECAST,
        month_days=DAYS,
        spent_by_day=[Decimal(1)] * 5,
        notes=notes(report(("team",), lines)),
    )
    return page.render(replace(content, **changes))


def _text(found: str) -> str:
    """What a reader sees, more or less."""
    body = re.sub(r"<(style|svg|title).*?</\1>", " ", found, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_names_are_escaped_everywhere() -> None:
    lines = [cost_line("3", team=EVIL, pool=EVIL), nobody("__idle__", "2", pool=EVIL)]
    found = _page(lines, sheets=[Sheet(EVIL, [EVIL], [[EVIL]], EVIL)], open_hours=EVIL)
    assert "<script" not in found
    assert _text(found).count(EVIL) >= 5


def test_nothing_is_asked_of_a_network_and_no_script_runs() -> None:
    found = _page(list(month(["a", "b", "c"])))
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import|\bsrc=|href=", found)
    assert re.findall(r"https?://[^\"' ]+", found) == []


def test_the_headline_says_what_was_paid_used_and_idle() -> None:
    lines = [cost_line("3", team="search"), cost_line("1", team="sales"), nobody("__idle__", "6")]
    text = _text(_page(lines))
    assert "1 to 24 November 2026" in text
    assert "GPUs cost 10.00 USD in this period" in text
    assert "Teams used 40 % of it" in text
    assert "60 % was paid for GPUs that nobody used" in text
    assert "The largest user was search , with 75 % of what was used." in text
    assert "Expected at the end: 9.00 USD , and in 80 % of such months between 8.00 and 11.00 USD" in text


@pytest.mark.parametrize(("count", "folded"), [(3, 0), (12, 0), (60, 48)])
def test_many_teams_are_folded_and_all_of_them_are_there(count: int, folded: int) -> None:
    teams = [f"team-{at:02d}" for at in range(count)]
    found = _page(list(month(teams)))
    text = _text(found)
    assert all(team in text for team in teams)
    assert (f"{folded} further teams" in text) == bool(folded)
    assert found.count("<details>") == bool(folded)
    assert ("55 other teams" in text) == (count == 60)


def test_amounts_show_all_of_themselves_when_pointed_at() -> None:
    found = _page([cost_line("1234.567890123")])
    assert 'title="1,234.567890123">1,234.57<' in found


def test_what_is_unknown_is_said_and_is_no_zero() -> None:
    lost = cost_line("0", team="lost", unallocated=1, list_cost=None, currency=None, unpriced=1)
    text = _text(_page([lost]))
    assert "No cost of a GPU is known for this period" in text
    assert "lost 1 unknown unknown unknown unknown unknown" in text
    assert "of 1 requests, 1 have no list price" in text


@pytest.mark.parametrize("known", [[], [cost_line("0", team="refused")]])
def test_where_no_replica_hour_is_known_no_amount_of_a_gpu_is_zero(known: list[CostLine]) -> None:
    lost = cost_line("0", team="lost", unallocated=1)
    found = _page([lost, *known], forecast=None, month_days=(), spent_by_day=())
    text = _text(found)
    assert "Paid for GPUs unknown Used by teams unknown Idle unknown By the price list" in text
    assert "lost 1 0.50 unknown unknown unknown unknown" in text
    assert "Idle (paid, and not used) 0 0.00 unknown unknown Total" in text
    assert re.search(r"Total \d [\d.]+ unknown unknown", text)
    free = _text(_page([cost_line("0")], forecast=None, month_days=(), spent_by_day=()))
    assert "Paid for GPUs 0.00 Used by teams 0.00 Idle 0.00" in free


@pytest.mark.parametrize("lines", [[], [nobody("__idle__", "5")]])
def test_a_period_in_which_nothing_was_asked_is_a_page_too(lines: list[CostLine]) -> None:
    text = _text(_page(lines, forecast=None, month_days=(), spent_by_day=()))
    assert ("100 % was paid for GPUs that nobody used" if lines else "Nothing was asked for") in text
    assert "To the end of the month" not in text


def test_a_forecast_that_cannot_be_made_says_why() -> None:
    text = _text(_page([cost_line()], forecast=NoForecast(Decimal(2), "3 hours are on the books")))
    assert "2.00 USD so far. No forecast: 3 hours are on the books." in text
    over = Forecast(*[Decimal(7)] * 4, "over", 720, 0)
    assert "The month is over: 7.00 USD." in _text(_page([cost_line()], forecast=over))


def test_a_long_period_is_drawn_by_months() -> None:
    lines = [cost_line("1", day="2026-01-05"), cost_line("2", day="2026-11-05")]
    found = _page(lines, first=date(2026, 1, 1))
    assert "<title>search, Jan 2026: 1.00</title>" in found
    assert "1 January 2026 to 24 November 2026" not in found
    assert "1 January to 24 November 2026" in _text(found)


def test_every_plot_is_drawn_for_wide_and_narrow_screens_and_says_what_it_shows() -> None:
    found = _page(list(month(["a", "b", "c"])))
    labels = re.findall(r'<svg role="img" width="(\d+)"[^>]* aria-label="([^"]+)"', found)
    assert sorted({width for width, _ in labels}) == ["350", "816"]
    assert len(labels) == 8
    assert all(len(label) > 20 for _, label in labels)


def test_amounts_for_reading_never_look_like_nothing() -> None:
    values = (None, "0", "0.004", "0.005", "0.015", "-0.001", "1234.5")
    amounts = [None if each is None else Decimal(each) for each in values]
    assert [page.money(each) for each in amounts] == [
        "unknown",
        "0.00",
        "< 0.01",
        "< 0.01",
        "0.02",
        "> -0.01",
        "1,234.50",
    ]
    assert [page.share(each) for each in (None, Decimal(0), Decimal("0.0001"), Decimal("0.123"))] == [
        "unknown",
        "0.0\u00a0%",
        "<\u00a00.1\u00a0%",
        "12.3\u00a0%",
    ]
    assert [page.percent(Decimal(each)) for each in ("0.051", "0.5")] == ["5.1\u00a0%", "50\u00a0%"]
    assert page.span((Decimal("0.1"), Decimal("0.2"))) == "10.0 to 20.0\u00a0%"


def test_the_template_is_a_file_of_the_package() -> None:
    assert resources.files("gateway.costs").joinpath("page.html.j2").is_file()
