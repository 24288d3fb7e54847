"""Local time of a region: its clock, its holidays, its windows and seasons, also where the clock jumps."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.calendar import Calendar, Calendars
from gateway.settings import public_holidays
from gateway.settings.calendars import CalendarConfig, Regions, SeasonConfig, WindowConfig
from gateway.settings.conditions import LOCAL
from tests.gateway.ruled import BRAZIL, PEAK, REGIONS

ZONES = ["America/Santiago", "Europe/Lisbon", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu", "UTC"]
"""Clocks that jump in spring and autumn, by half an hour too, some that do not, and one 45 minutes off."""
NIGHT = {"rrule": "FREQ=DAILY;BYHOUR=1;BYMINUTE=30;BYSECOND=0", "duration": "PT2H"}
TURN = {"rrule": "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=31;BYHOUR=20", "duration": "P1D"}
MOMENTS = st.integers(
    int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())
)


def _calendar(zone: str = "UTC", windows: dict[str, dict[str, object]] | None = None, **config: object) -> Calendar:
    seasons = {"summer": SeasonConfig.model_validate({"from": "12-21", "to": "03-20"})}
    named = {name: WindowConfig.model_validate(each) for name, each in (windows or {}).items()}
    return Calendar(CalendarConfig.model_validate({"timezone": zone, **config}), named, seasons)


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


CALENDARS = {zone: _calendar(zone, {"night": NIGHT, "turn": TURN}) for zone in ZONES}


@given(st.sampled_from(ZONES), MOMENTS)
def test_the_clock_is_that_of_the_zone(zone: str, now: int) -> None:
    found, wall = CALENDARS[zone].at(now), datetime.fromtimestamp(now, ZoneInfo(zone))
    assert set(found) == set(LOCAL)
    assert (found["date"], found["year"], found["month"], found["day"]) == (
        wall.date().isoformat(), wall.year, wall.month, wall.day
    )  # fmt: skip
    assert (found["hour"], found["minute"], found["weekday"]) == (wall.hour, wall.minute, wall.isoweekday())
    assert found["minute_of_day"] == wall.hour * 60 + wall.minute


@given(st.sampled_from(ZONES), MOMENTS, st.floats(0, 59.9))
def test_nothing_changes_within_a_minute(zone: str, now: int, later: float) -> None:
    minute = now // 60 * 60
    assert CALENDARS[zone].at(minute) == CALENDARS[zone].at(minute + later)


@given(st.sampled_from(ZONES), MOMENTS)
def test_a_window_holds_from_wall_time_to_wall_time(zone: str, now: int) -> None:
    """Whatever the clock does in the night, and over the turn of a year."""
    wall = datetime.fromtimestamp(now // 60 * 60, ZoneInfo(zone)).replace(tzinfo=None)
    expected = []
    if (
        timedelta(hours=1, minutes=30)
        <= timedelta(hours=wall.hour, minutes=wall.minute)
        < timedelta(hours=3, minutes=30)
    ):
        expected.append("night")
    eve = wall.replace(month=12, day=31, hour=20, minute=0)
    if any(start <= wall < start + timedelta(days=1) for start in (eve, eve.replace(year=wall.year - 1))):
        expected.append("turn")
    assert list(CALENDARS[zone].at(now)["windows"]) == expected


def test_an_hour_that_comes_twice_is_twice_in_the_window() -> None:
    lisbon = CALENDARS["Europe/Lisbon"]
    walls = [lisbon.at(_at(f"2026-10-25T{hour}:45Z")) for hour in ("00", "01")]
    assert [(wall["hour"], wall["minute"], wall["windows"]) for wall in walls] == [(1, 45, ("night",))] * 2


def test_an_hour_that_does_not_come_leaves_the_rest_of_its_window() -> None:
    # 01:00 becomes 02:00: the window that would begin at 01:30 is there from 02:00 on.
    lisbon = CALENDARS["Europe/Lisbon"]
    before, after = lisbon.at(_at("2026-03-29T00:59Z")), lisbon.at(_at("2026-03-29T01:00Z"))
    assert (before["hour"], before["windows"]) == (0, ())
    assert (after["hour"], after["windows"]) == (2, ("night",))


def test_brazil_has_no_summer_time_any_more() -> None:
    calendar = _calendar("America/Sao_Paulo")
    assert calendar.at(_at("2018-12-24T20:30Z"))["hour"] == 18
    assert calendar.at(_at("2026-12-24T21:30Z"))["hour"] == 18


@given(st.integers(2024, 2030), st.integers(1, 366))
def test_holidays_are_those_of_the_package_and_of_the_configuration(year: int, number: int) -> None:
    day = datetime(year, 1, 1, 12, tzinfo=UTC) + timedelta(days=number - 1)
    calendar = _calendar("UTC", **{key: BRAZIL[key] for key in BRAZIL if key != "timezone"})
    listed = public_holidays.in_year("BR", "SP", ("public", "optional"), "en_US", day.year)
    own = ("Black Friday",) if day.date().isoformat() == "2026-11-27" else ()
    found = calendar.at(day.timestamp())
    assert found["holidays"] == listed.get(day.date(), ()) + own
    assert found["is_holiday"] is bool(found["holidays"])


def test_a_holiday_begins_and_ends_at_local_midnight() -> None:
    calendar = _calendar("America/Sao_Paulo", dates={"2026-11-27": "Black Friday"})
    moments = ["2026-11-27T02:59Z", "2026-11-27T03:00Z", "2026-11-28T02:59Z", "2026-11-28T03:00Z"]
    assert [calendar.at(_at(moment))["is_holiday"] for moment in moments] == [False, True, True, False]


def test_a_day_may_be_two_holidays() -> None:
    calendar = _calendar("UTC", country="US", dates={"2026-12-25": "Our own"})
    assert calendar.at(_at("2026-12-25T12:00Z"))["holidays"] == ("Christmas Day", "Our own")


def test_seasons_and_leap_days() -> None:
    calendar = _calendar()
    days = {"2027-12-20": (), "2027-12-21": ("summer",), "2028-02-29": ("summer",), "2028-03-21": ()}
    assert {day: calendar.at(_at(f"{day}T23:59Z"))["seasons"] for day in days} == days
    assert calendar.at(_at("2028-02-29T12:00Z"))["day"] == 29


def test_a_window_that_counts_from_a_start() -> None:
    fortnight = {"rrule": "FREQ=DAILY;INTERVAL=14", "duration": "P1D", "start": "2026-01-02T00:00"}
    thrice = {"rrule": "FREQ=DAILY;COUNT=3", "duration": "PT1H", "start": "2026-12-30T12:00"}
    calendar = _calendar(windows={"payday": fortnight, "thrice": thrice})
    expected = {
        "2025-12-19": (), "2026-01-02": ("payday",), "2026-01-09": (), "2026-12-30": ("thrice",),
        "2026-12-31": ("thrice",), "2027-01-01": ("payday", "thrice"), "2027-01-02": (), "2027-01-15": ("payday",),
    }  # fmt: skip
    assert {day: calendar.at(_at(f"{day}T12:00Z"))["windows"] for day in expected} == expected


def test_windows_that_touch_are_one() -> None:
    calendar = _calendar(windows={"always": {"rrule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0", "duration": "PT2H"}})
    assert all(calendar.at(_at("2026-01-01T00:00Z") + 977 * 60 * step)["windows"] for step in range(500))
    assert len(calendar.turns(2026)) == 2


def test_turns_are_where_windows_begin_and_end() -> None:
    calendar = _calendar("America/Sao_Paulo", {"peak": PEAK})
    turns = [wall for wall in calendar.turns(2026) if wall.month == 11 and wall.day in (27, 28, 29, 30)]
    assert [str(wall) for wall in turns] == [
        f"2026-11-{day} {hour}:00:00" for day in (27, 30) for hour in (18, 23)
    ]  # fmt: skip
    assert calendar.instant(turns[0]) == _at("2026-11-27T21:00Z")
    assert calendar.instant(datetime(2018, 2, 17, 23, 30)) == _at("2018-02-18T01:30Z")  # noqa: DTZ001  the earlier one


def test_clocks_that_go_forward_leave_an_hour_out() -> None:
    calendar = _calendar("America/Los_Angeles")
    shown = [
        minute
        for minute in (117, 119, 120, 150, 179, 180)
        if calendar.exists(datetime(2026, 3, 8, minute // 60, minute % 60))  # noqa: DTZ001 (wall time)
    ]
    assert shown == [117, 119, 180]
    assert calendar.exists(datetime(2026, 11, 1, 1, 30))  # noqa: DTZ001  it comes twice


def test_years_that_are_near_are_worked_out_at_once() -> None:
    calendar = _calendar("Pacific/Kiritimati", {"peak": PEAK})
    calendar.prepare(_at("2026-12-31T12:00Z"))  # where it is 2027 by now
    assert set(calendar._years) == {2027, 2028}


@pytest.mark.parametrize(
    ("named", "region"), [(None, "BR-SP"), (b"US-CA", "US-CA"), (b"us-ca", "BR-SP"), (b"", "BR-SP"), (b"\xff", "BR-SP")]
)
def test_a_request_names_a_region_or_gets_the_default(named: bytes | None, region: str) -> None:
    assert Calendars(Regions.model_validate(REGIONS), {}, {}).region(named) == region


def test_regions_have_clocks_of_their_own() -> None:
    calendars = Calendars(Regions.model_validate(REGIONS), {"peak": WindowConfig.model_validate(PEAK)}, {})
    now = _at("2026-12-24T21:30Z")
    calendars.prepare(now)
    assert [(calendars.at(name, now)["hour"], calendars.at(name, now)["windows"]) for name in ("BR-SP", "US-CA")] == [
        (18, ("peak",)), (13, ())
    ]  # fmt: skip
    assert calendars.at("BR-SP", now + 29.9) is calendars.at("BR-SP", now)
    assert calendars.at("BR-SP", now + 60)["minute"] == 31
    assert calendars.at("BR-SP", now)["minute"] == 30


@given(st.sampled_from(ZONES), MOMENTS)
def test_the_wall_clock_is_ahead_of_utc_by_its_offset(zone: str, now: int) -> None:
    local, shown = _calendar(zone).at(now), datetime.fromtimestamp(now + _calendar(zone).offset(now), UTC)
    assert (local["date"], local["hour"], local["minute"]) == (shown.date().isoformat(), shown.hour, shown.minute)
