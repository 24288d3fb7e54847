"""Local time as rules read it: date and hour, holidays, windows and seasons of a region at an instant.

Everything is a function of the region's wall clock, which is looked at once a minute. A window is held in wall time
too, so that a night with a clock change has nothing special: an hour that comes twice is twice in the window, one that
does not come is not missed.
"""

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gateway.settings import public_holidays
from gateway.settings.calendars import CalendarConfig, Regions, SeasonConfig, WindowConfig

MINUTE_S = 60
Facts = Mapping[str, Any]
"""The members of `local` (settings.conditions.LOCAL), with tuples for lists."""
_Spans = tuple[list[datetime], list[datetime]]


class Calendar:
    """A region's. Years are worked out when they come near; two threads may do the same one, to the same result."""

    def __init__(
        self, config: CalendarConfig, windows: Mapping[str, WindowConfig], seasons: Mapping[str, SeasonConfig]
    ) -> None:
        self._config = config
        self._zone = ZoneInfo(config.timezone)
        self._windows = windows
        self._seasons = seasons
        self._years: dict[int, tuple[Mapping[str, tuple[str, ...]], Mapping[str, _Spans]]] = {}
        self._day: tuple[str, tuple[str, ...], tuple[str, ...]] = ("", (), ())

    def at(self, now: float) -> dict[str, Any]:
        """What is so in the minute that has begun at `now` (seconds since the epoch)."""
        wall = datetime.fromtimestamp(now // MINUTE_S * MINUTE_S, self._zone).replace(tzinfo=None)
        day = wall.date().isoformat()
        if day != self._day[0]:
            seasons = tuple(name for name, season in self._seasons.items() if season.holds(day[5:]))
            self._day = day, self._year(wall.year)[0].get(day, ()), seasons
        _, holidays, seasons = self._day
        return {
            "date": day,
            "year": wall.year,
            "month": wall.month,
            "day": wall.day,
            "weekday": wall.isoweekday(),
            "hour": wall.hour,
            "minute": wall.minute,
            "minute_of_day": wall.hour * 60 + wall.minute,
            "holidays": holidays,
            "is_holiday": bool(holidays),
            "windows": tuple(name for name, spans in self._year(wall.year)[1].items() if _within(wall, spans)),
            "seasons": seasons,
        }

    def instant(self, wall: datetime) -> float:
        """Seconds since the epoch of a wall time; the earlier one where it comes twice."""
        return wall.replace(tzinfo=self._zone).timestamp()

    def exists(self, wall: datetime) -> bool:
        """Whether clocks show this wall time: those that go forward leave an hour out."""
        return datetime.fromtimestamp(self.instant(wall), self._zone).replace(tzinfo=None) == wall

    def offset(self, now: float) -> float:
        """Seconds that the wall clock is ahead of UTC."""
        wall = datetime.fromtimestamp(now, self._zone)
        return (wall.utcoffset() or timedelta()).total_seconds()

    def prepare(self, now: float) -> None:
        """Work out this year and the next, so that no request waits for it."""
        year = datetime.fromtimestamp(now, self._zone).year
        self._year(year)
        self._year(year + 1)

    def turns(self, year: int) -> list[datetime]:
        """When windows of a year begin and end, in wall time."""
        return sorted({wall for spans in self._year(year)[1].values() for walls in spans for wall in walls})

    def _year(self, year: int) -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, _Spans]]:
        found = self._years.get(year)
        if found is None:
            spans = {name: _spans(window, year) for name, window in self._windows.items()}
            found = self._years[year] = self._holidays(year), spans
        return found

    def _holidays(self, year: int) -> Mapping[str, tuple[str, ...]]:
        config, found = self._config, dict[str, tuple[str, ...]]()
        if config.country is not None:
            listed = public_holidays.in_year(
                config.country, config.subdivision, config.categories, config.language, year
            )
            found = {day.isoformat(): names for day, names in listed.items()}
        for day, name in config.dates.items():
            if day.year == year:
                found[day.isoformat()] = (*found.get(day.isoformat(), ()), name)
        return dict(sorted(found.items()))


class Calendars:
    """The calendars of all regions. `header` is the request header that names one, in lower case."""

    def __init__(
        self, regions: Regions, windows: Mapping[str, WindowConfig], seasons: Mapping[str, SeasonConfig]
    ) -> None:
        self.default = regions.default
        self.header = None if regions.header is None else regions.header.encode()
        self.regions = {name: Calendar(each, windows, seasons) for name, each in regions.calendars.items()}
        self._named = {name.encode(): name for name in self.regions}
        self._minutes: dict[str, tuple[float, dict[str, Any]]] = {}

    def region(self, named: bytes | None) -> str:
        """The region that a header names; the default one where it names none that is known."""
        return self.default if named is None else self._named.get(named, self.default)

    def at(self, region: str, now: float) -> dict[str, Any]:
        """What is so in a region, worked out once a minute."""
        minute = now // MINUTE_S
        known = self._minutes.get(region)
        if known is None or known[0] != minute:
            known = self._minutes[region] = minute, self.regions[region].at(now)
        return known[1]

    def prepare(self, now: float) -> None:
        """Work out the years that are near, for every region."""
        for calendar in self.regions.values():
            calendar.prepare(now)


def _spans(window: WindowConfig, year: int) -> _Spans:
    """Where a window begins and ends in a year, in wall time; what touches is one."""
    starts, ends = list[datetime](), list[datetime]()
    first, after = datetime(year, 1, 1) - window.duration, datetime(year + 1, 1, 1)  # noqa: DTZ001 (wall time)
    for start in window.occurrences(year - 1).between(first, after - timedelta(microseconds=1), inc=True):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], start + window.duration)
        else:
            starts.append(start)
            ends.append(start + window.duration)
    return starts, ends


def _within(wall: datetime, spans: _Spans) -> bool:
    at = bisect_right(spans[0], wall) - 1
    return at >= 0 and wall < spans[1][at]
