"""Regions, windows and seasons: what they mean, and what is refused where it stands."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.settings.calendars import CalendarConfig, Regions, SeasonConfig, WindowConfig, calendar_mistakes
from tests.gateway.ruled import PEAK, REGIONS


def test_without_a_word_there_is_one_region_in_utc() -> None:
    regions = Regions()
    assert (regions.default, regions.header, list(regions.calendars)) == ("UTC", None, ["UTC"])
    assert list(calendar_mistakes(regions)) == []


def test_regions() -> None:
    regions = Regions.model_validate(REGIONS)
    assert list(calendar_mistakes(regions)) == []
    assert [str(day) for day in regions.calendars["BR-SP"].dates] == ["2026-11-27"]


def test_an_unknown_default_and_unknown_holidays_are_mistakes() -> None:
    calendars = {"BR": CalendarConfig(country="BR", subdivision="XX")}
    found = calendar_mistakes(Regions(default="AR", calendars=calendars))
    assert [(at, said.partition(";")[0]) for at, said in found] == [
        (("regions", "default"), "no calendar 'AR'"),
        (("regions", "calendars", "BR", "subdivision"), "'BR' has no subdivision 'XX'"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["America/Sao_Paolo", "", "../etc/passwd", "BRT+3", "/etc/localtime"])
def test_a_zone_is_one(name: str) -> None:
    with pytest.raises(ValidationError, match="no time zone"):
        CalendarConfig(timezone=name)


@pytest.mark.parametrize("header", ["X-Region", "x region", "x-region:", ""])
def test_the_header_of_a_region_is_one_in_lower_case(header: str) -> None:
    with pytest.raises(ValidationError):
        Regions(header=header)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rrule": "every day"}, "expected FREQ=YEARLY"),
        ({"rrule": "FREQ=MINUTELY"}, "expected FREQ=YEARLY"),
        ({"rrule": "DTSTART:20260101T000000\nRRULE:FREQ=DAILY"}, "expected FREQ=YEARLY"),
        ({"rrule": "FREQ=DAILY;BYHOUR=25"}, "hour must be in 0..23"),
        ({"rrule": "FREQ=DAILY;BYFUN=1"}, "unknown parameter 'BYFUN'"),
        ({"rrule": "FREQ=DAILY;INTERVAL=2"}, "INTERVAL counts from somewhere: add `start`"),
        ({"rrule": "FREQ=DAILY;COUNT=2"}, "COUNT counts from somewhere"),
        ({"rrule": "FREQ=WEEKLY;BYHOUR=3"}, "a weekly window has its days"),
        ({"rrule": "FREQ=DAILY;UNTIL=20300101T000000Z"}, "UNTIL is wall time here, leave its Z out"),
        ({"rrule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}, "never happens"),
        ({"rrule": "FREQ=HOURLY;BYMINUTE=0,10,20,30,40,50"}, "happens more than 10000 times a year"),
        ({"rrule": "FREQ=WEEKLY;BYDAY=1MO"}, "a numbered day such as 1MO is one of a month or a year"),
        ({"rrule": "FREQ=DAILY;BYDAY=MO,-1FR"}, "a numbered day such as 1MO is one of a month or a year"),
        ({"rrule": "FREQ=DAILY;BYDAY=MO;BYDAY=TU"}, "BYDAY stands there twice"),
        ({"rrule": "FREQ=DAILY;FREQ=YEARLY"}, "FREQ stands there twice"),
        ({"rrule": "FREQ=DAILY;BYMONTHDAY=0"}, "BYMONTHDAY has numbers from 1 to 31, or from the end -1 to -31, found"),
        ({"rrule": "FREQ=MONTHLY;BYMONTHDAY=1,32"}, "BYMONTHDAY has numbers from 1 to 31"),
        ({"rrule": "FREQ=DAILY;BYMONTH=1,13"}, "BYMONTH has numbers from 1 to 12, found"),
        ({"rrule": "FREQ=DAILY;BYMONTH=-1"}, "BYMONTH has numbers from 1 to 12, found"),
        ({"rrule": "FREQ=DAILY;BYMONTH=--1"}, "cannot read"),
        ({"rrule": "FREQ=DAILY;INTERVAL=0", "start": "2026-01-01T00:00"}, "INTERVAL is a whole number from 1"),
        ({"rrule": "FREQ=DAILY;INTERVAL=-1", "start": "2026-01-01T00:00"}, "INTERVAL is a whole number from 1"),
        ({"duration": "PT0S"}, "greater than or equal"),
        ({"duration": "P32D"}, "less than or equal"),
        ({"start": "2026-01-01T00:00:00Z"}, "wall time of each region"),
    ],
)
def test_what_is_no_window_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        WindowConfig.model_validate({**PEAK, **changes})


@pytest.mark.parametrize(
    ("rrule", "first"),
    [
        ("FREQ=MONTHLY;BYDAY=2MO,-1FR", "2026-01-12"),
        ("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", "2026-11-26"),
        ("FREQ=YEARLY;BYYEARDAY=-1", "2026-12-31"),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31"),
    ],
)
def test_days_of_a_month_or_a_year_may_be_numbered(rrule: str, first: str) -> None:
    window = WindowConfig(rrule=rrule, duration=timedelta(hours=1))
    assert str(window.occurrences(2026)[0].date()) == first


def test_a_window_that_is_over_is_one() -> None:
    assert WindowConfig(rrule="FREQ=DAILY;UNTIL=20100101T000000", duration=timedelta(hours=1)).start is None


@pytest.mark.parametrize("day", ["13-01", "02-30", "2-3", "12/21", "2026-12-21", ""])
def test_a_day_of_a_season_is_a_month_and_a_day(day: str) -> None:
    with pytest.raises(ValidationError, match="expected a month and a day such as 12-21"):
        SeasonConfig.model_validate({"from": day, "to": "03-20"})


def test_a_season_may_go_over_the_turn_of_the_year() -> None:
    summer = SeasonConfig.model_validate({"from": "12-21", "to": "03-20"})
    assert [summer.holds(day) for day in ("12-20", "12-21", "12-31", "01-01", "02-29", "03-20", "03-21")] == [
        False, True, True, True, True, True, False
    ]  # fmt: skip
    assert summer.model_dump() == {"from": "12-21", "to": "03-20"}


DAYS = st.dates().map(lambda day: day.isoformat()[5:])


@given(DAYS, DAYS, DAYS)
def test_a_season_and_what_is_left_of_the_year_hold_every_day_once(first: str, last: str, day: str) -> None:
    season = SeasonConfig.model_validate({"from": first, "to": last})
    ends = day in (first, last)
    assert season.holds(first)
    assert season.holds(last)
    if first != last and not ends:
        assert season.holds(day) != SeasonConfig.model_validate({"from": last, "to": first}).holds(day)
