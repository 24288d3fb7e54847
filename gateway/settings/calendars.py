"""What a gateway knows of local time: regions with their zones and holidays, windows of hours, seasons of the year."""

import itertools
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from dateutil import rrule as recurring
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from gateway.contracts import documents
from gateway.settings import public_holidays

MOST_IN_A_YEAR = 10_000
"""Occurrences of a window: each is held in memory for the years that are near."""
ANCHOR = datetime(2000, 1, 1)  # noqa: DTZ001 (wall time)
_RRULE = re.compile(r"FREQ=(?:YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY)(?:;[A-Z]+=[A-Z0-9,+\-]+)*")
_FROM_A_START = re.compile(r";(INTERVAL|COUNT)=")
_OF_DAYS = re.compile(r";(?:BYMONTH|BYMONTHDAY|BYYEARDAY|BYWEEKNO)=[0-9,+\-]+|;BYDAY=[A-Z,]+(?=;|$)")
_LARGEST = {"BYMONTH": 12, "BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53}
_DAY = re.compile(r"(\d\d)-(\d\d)")


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {value!r}: expected a name such as America/Sao_Paulo") from error
    return value


class CalendarConfig(documents.Frozen):
    """The local time of a region and its holidays.

    `categories` are those of the package `holidays`; Carnival, for one, is `optional` in Brazil. `language` is that of
    their names, since rules compare names. `dates` adds days of your own.
    """

    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    country: str | None = None
    subdivision: str | None = None
    categories: tuple[str, ...] = ("public",)
    language: str | None = None
    dates: dict[date, str] = Field(default_factory=dict)


class Regions(documents.Frozen):
    """Where requests come from. `header` names the request's own; without it, or with one unknown, `default` counts."""

    default: str = "UTC"
    header: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9a-z-]{1,64}$")] | None = None
    calendars: Annotated[dict[Name, CalendarConfig], Field(min_length=1)] = Field(
        default_factory=lambda: {"UTC": CalendarConfig()}
    )


class WindowConfig(documents.Frozen):
    """Hours that come again: each begins where `rrule` (RFC 5545) says and lasts `duration`, both in wall time.

    `start` is where INTERVAL and COUNT begin to count. Wall time makes a window of 18:00 to 23:00 just that on the days
    that have 23 or 25 hours too.
    """

    rrule: str
    duration: Annotated[timedelta, Field(ge=timedelta(minutes=1), le=timedelta(days=31))]
    start: datetime | None = None

    @model_validator(mode="after")
    def _happens(self) -> "WindowConfig":
        if self.start is not None and self.start.tzinfo is not None:
            raise ValueError(f"`start` is wall time of each region: expected no offset, found {str(self.start)!r}")
        if not _RRULE.fullmatch(self.rrule):
            expected = "FREQ=YEARLY, MONTHLY, WEEKLY, DAILY or HOURLY, and then parts such as ;BYDAY=MO,TU;BYHOUR=18"
            raise ValueError(f"expected {expected}, found {self.rrule!r}")
        if self.start is None and (part := _FROM_A_START.search(self.rrule)):
            raise ValueError(f"{part[1]} counts from somewhere: add `start`")
        if self.start is None and self.rrule.startswith("FREQ=WEEKLY") and ";BYDAY=" not in self.rrule:
            raise ValueError("a weekly window has its days, ;BYDAY=MO,TU, or a `start` whose weekday counts")
        if (mistake := next(_passed_over(self.rrule), None)) is not None:
            raise ValueError(f"{mistake}, found {self.rrule!r}")
        self._count()
        return self

    def _count(self) -> None:
        """Refuses what never happens, and what happens all the time."""
        try:
            # A rule that hits no day is looked for through all years, day by day: its days alone go year by year.
            days = recurring.rrulestr("FREQ=YEARLY" + "".join(_OF_DAYS.findall(self.rrule)), dtstart=ANCHOR)
            rule = self.occurrences(ANCHOR.year)
            first = next(iter(rule), None) if next(iter(days), None) else None
        except (ValueError, TypeError) as error:
            hint = ": UNTIL is wall time here, leave its Z out" if "UNTIL" in str(error) else ""
            raise ValueError(f"cannot read {self.rrule!r}: {error}{hint}") from error
        if first is None:
            raise ValueError(f"{self.rrule!r} never happens")
        year = itertools.takewhile(lambda start: start - first < timedelta(days=366), rule)
        if sum(1 for _ in itertools.islice(year, MOST_IN_A_YEAR + 1)) > MOST_IN_A_YEAR:
            raise ValueError(
                f"{self.rrule!r} happens more than {MOST_IN_A_YEAR} times a year: use fewer and longer ones"
            )

    def occurrences(self, year: int) -> recurring.rrule:
        """Where it begins, in wall time, from its `start` or else from the beginning of a year."""
        found = recurring.rrulestr(self.rrule, dtstart=ANCHOR.replace(year=year) if self.start is None else self.start)
        if not isinstance(found, recurring.rrule):
            raise ValueError("expected one rule")
        return found


def _passed_over(rrule: str) -> Iterator[str]:
    """What RFC 5545 forbids and dateutil reads as something else without a word: 1MO of each week as every Monday."""
    parts = [part.split("=") for part in rrule.split(";")]
    names = [name for name, _ in parts]
    yield from (f"{name} stands there twice: name all of its values at once" for name in names if names.count(name) > 1)
    for name, value in parts:
        numbers = [int(each) for each in value.split(",") if re.fullmatch(r"[+-]?\d{1,9}", each)]
        if (largest := _LARGEST.get(name)) is not None:
            least = 1 if name == "BYMONTH" else -largest
            if any(each == 0 or not least <= each <= largest for each in numbers):
                yield f"{name} has numbers from 1 to {largest}" + (f", or from the end -1 to {least}" * (least < 0))
        if name == "INTERVAL" and min(numbers, default=1) < 1:
            yield "INTERVAL is a whole number from 1"
        if name == "BYDAY" and parts[0][1] not in ("YEARLY", "MONTHLY") and re.search(r"\d", value):
            yield "a numbered day such as 1MO is one of a month or a year: use FREQ=MONTHLY or YEARLY"


def _month_and_day(value: str) -> str:
    match = _DAY.fullmatch(value)
    try:
        date(2000, int(match[1]) if match else 0, int(match[2]) if match else 0)
    except ValueError as error:
        raise ValueError(f"expected a month and a day such as 12-21, found {value!r}") from error
    return value


Day = Annotated[str, AfterValidator(_month_and_day)]


class SeasonConfig(documents.Frozen):
    """A part of every year, both days included. One that begins after it ends goes over the turn of the year."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Day = Field(alias="from")
    to: Day

    def holds(self, day: str) -> bool:
        """Whether a day such as 12-21 is in it."""
        if self.from_ <= self.to:
            return self.from_ <= day <= self.to
        return day >= self.from_ or day <= self.to


def calendar_mistakes(regions: Regions) -> Iterator[tuple[documents.Location, str]]:
    """What is wrong with the regions: an unknown default, and holidays that nobody knows."""
    known: Mapping[str, CalendarConfig] = regions.calendars
    if regions.default not in known:
        yield ("regions", "default"), f"no calendar {regions.default!r}; those here are {', '.join(sorted(known))}"
    for name, calendar in known.items():
        found = public_holidays.mistakes(calendar.country, calendar.subdivision, calendar.categories, calendar.language)
        for key, message in found:
            yield ("regions", "calendars", name, key), message
