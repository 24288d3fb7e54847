"""What a key has used, for whoever holds the key: its own rows, and nobody else's.

    GET /v1/usage?since=2026-11-01&until=2026-12-01&by=day,model

Both ends are dates (UTC) or moments with an offset, and are made wider to whole hours, by which costs are kept. Without
them it is this month so far.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gateway.contracts.errors import InvalidRequest
from gateway.stores.cost_lines import HOUR_S, TAG, CostLine

BY = ("model", "release", "purpose", "outcome", "region", "currency", "hour", "day", "month")
"""What a key's usage can be grouped by, and `tag:NAME`: nothing that tells of other keys, or of the fleet."""
PARAMETERS = ("since", "until", "by")
MOST_DAYS = 400
MOST_LINES = 10_000
GPU_CURRENCY = "USD"
DAY_S = 86_400
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A period, in seconds since the epoch and of whole hours, and the names that its sums are grouped by."""

    since: float
    until: float
    by: tuple[str, ...]


def wanted(
    parameters: Sequence[tuple[str, str]], now: float, known: Sequence[str] = BY, usual: str = "day,model"
) -> Wanted:
    """What a request asks for, grouped by names out of `known`, or by the `usual` ones where it names none.

    Raises InvalidRequest, which names the parameter.
    """
    given: dict[str, str] = {}
    for name, value in parameters:
        if name not in PARAMETERS:
            expected = ", ".join(PARAMETERS)
            raise InvalidRequest(
                f"no parameter {name!r}: expected some of {expected}; a key sees its own usage", param=name
            )
        if name in given:
            raise InvalidRequest(f"expected {name!r} once, found it twice", param=name)
        given[name] = value
    month = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    since = _moment("since", given["since"]) if "since" in given else month.timestamp()
    until = _moment("until", given["until"]) if "until" in given else now
    since, until = math.floor(since / HOUR_S) * HOUR_S, math.ceil(until / HOUR_S) * HOUR_S
    if since >= until:
        raise InvalidRequest("expected `since` before `until`", param="since")
    if until - since > MOST_DAYS * DAY_S:
        raise InvalidRequest(f"expected at most {MOST_DAYS} days from `since` to `until`: ask for less", param="since")
    return Wanted(since, until, _by(given.get("by", usual), known))


def _by(text: str, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(","))) if text else ()
    for name in names:
        if name not in known and not (name.startswith(TAG) and _TAG.fullmatch(name[len(TAG) :])):
            raise InvalidRequest(f"`by`: expected some of {', '.join(known)} and tag:NAME, found {name!r}", param="by")
    return names


def _moment(name: str, text: str) -> float:
    """Seconds since the epoch. An offset's `+` that was sent as it is has become a space."""
    try:
        found = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        found = None
    if found is not None and found.tzinfo is None:
        found = found.replace(tzinfo=UTC) if _DATE.fullmatch(text) else None
    if found is None or not 1970 < found.year < 9999:
        expected = "a date such as 2026-11-22, or a moment such as 2026-11-22T09:00:00Z, of the years 1971 to 9998"
        raise InvalidRequest(f"`{name}`: expected {expected}, found {text[:64]!r}", param=name)
    return found.timestamp()


def answer(key_id: str, asked: Wanted, lines: Sequence[CostLine], total: CostLine) -> dict[str, Any]:
    """The page. Raises InvalidRequest for more lines than a page has."""
    if len(lines) > MOST_LINES:
        raise InvalidRequest(
            f"{len(lines)} lines, and a page has {MOST_LINES} at most: ask for less, or by less", param="by"
        )
    return {
        "object": "usage",
        "key": key_id,
        "since": _written(asked.since),
        "until": _written(asked.until),
        "by": list(asked.by),
        "data": [{"group": line.group, **_values(line)} for line in lines],
        "total": _values(total),
    }


def _values(line: CostLine) -> Mapping[str, Any]:
    """Amounts are text, so that no reader rounds them, and null where none is known: unknown is not zero."""
    unknown = 0 < line.requests == line.unallocated and not line.allocated
    return {
        "requests": line.requests,
        "input_tokens": line.input_tokens,
        "cached_tokens": line.cached_tokens,
        "output_tokens": line.output_tokens,
        "reasoning_tokens": line.reasoning_tokens,
        "list_cost": _amount(Decimal(0) if line.requests == 0 else line.list_cost),
        "currency": line.currency,
        "gpu_cost": None if unknown else _amount(line.allocated),
        "gpu_currency": GPU_CURRENCY,
        "unpriced": line.unpriced,
        "unmetered": line.unmetered,
        "cached_unknown": line.cached_unknown,
        "unallocated": line.unallocated,
    }


def _amount(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
