"""A report of costs: who used what, what it cost in three ways that are never one, and how sure that is.

    list          by the price list
    allocated     the GPUs' time that a request had, shared with those that were there at the same time
    fully loaded  the same, with its part of what nobody used: idle time and overhead

What nobody asked for stands in lines of its own. Pure: lines in, a report out.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.costs import sums
from gateway.costs.sheets import Kind
from gateway.costs.sums import several_currencies, summed
from gateway.stores.cost_lines import IDLE, OVERHEAD, CostLine

SERVE, QUALITY, IDLE_CENTRE, OVERHEAD_CENTRE = "serve", "quality", "idle", "overhead"
CENTRES = (SERVE, QUALITY, IDLE_CENTRE, OVERHEAD_CENTRE)
"""Cost centres: what clients asked for; what measures the models; time that nobody used; work for nobody by name."""
SAID = (
    (
        "list = by the price list; allocated = GPU time, shared with whoever was there at the same time; fully loaded "
        "= allocated + a part of idle time and overhead. They answer different questions and are never added up."
    ),
    (
        "Amounts are exact. Each request's list cost, and each replica-hour's parts, are rounded once, to 0.000000001, "
        "so that parts add up to their whole: tenants + quality + overhead + idle = what was paid for GPUs, in USD."
    ),
    (
        "Other methods split the same money by requests, by tokens, and by weighted tokens (uncached input 1, cached "
        "input 0.1, output 4): the range is the least and the most of a row's share by any of them."
    ),
)
"""How amounts are made and rounded."""
NAMED = (SERVE, QUALITY)
"""Those with a name to charge; the others are nobody's."""
MEASURES = ("evaluate", "probe", "shadow")
"""Purposes of what measures the models."""
NEEDED = ("team", "purpose")
"""What lines must be grouped by besides, to know the cost centre."""
ASKER = ("team", "key", "model", "release", "purpose", "outcome")
"""What idle time and overhead have none of: their cost centre says what they are."""
METHODS = {"allocated": "shared time", "by_requests": "requests", "by_tokens": "tokens", "by_weight": "weighted tokens"}
"""How the time in which GPUs were busy can be split, the first one being what is charged."""
SHARE_PLACES = Decimal("0.000001")

FIELDS: dict[str, Kind] = {
    "cost_centre": "text",
    **dict.fromkeys(sums.COUNTS, "count"),
    "list_cost": "amount",
    "currency": "text",
    **dict.fromkeys(("allocated", "provisional", "fully_loaded", "by_requests", "by_tokens", "by_weight"), "amount"),
    **dict.fromkeys(("share", "share_min", "share_max"), "amount"),
    **dict.fromkeys(sums.UNKNOWN, "count"),
}
"""The columns of a report after its groups, and what they hold. Amounts of GPUs are in USD, shares are of 1."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line, its cost centre, and its share of what was allocated, by each of METHODS; None where that is unknown.

    `provisional` is the part of what was allocated that may still change: its hours are not closed.
    """

    line: CostLine
    centre: str
    shares: Mapping[str, Decimal] | None
    provisional: Decimal = Decimal(0)

    @property
    def spread(self) -> tuple[Decimal, Decimal] | None:
        """The least and the most of its shares."""
        return None if self.shares is None else (min(self.shares.values()), max(self.shares.values()))

    def values(self) -> dict[str, Any]:
        """Its groups and FIELDS."""
        spread = self.spread or (None, None)
        return {
            **self.line.group,
            "cost_centre": self.centre,
            **{name: getattr(self.line, name) for name in (*sums.COUNTS, *sums.UNKNOWN)},
            "list_cost": sums.list_cost(self.line),
            "currency": self.line.currency,
            "allocated": sums.allocated(self.line),
            "provisional": None if sums.allocated(self.line) is None else self.provisional,
            "fully_loaded": sums.loaded(self.line),
            **{
                name: None if sums.allocated(self.line) is None else getattr(self.line, name)
                for name in ("by_requests", "by_tokens", "by_weight")
            },
            "share": None if self.shares is None else self.shares["allocated"],
            "share_min": spread[0],
            "share_max": spread[1],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Rows of what somebody asked for, the dearest first; then quality, overhead and idle; the total of all of them."""

    by: tuple[str, ...]
    rows: tuple[Row, ...]
    total: Row

    @property
    def columns(self) -> dict[str, Kind]:
        """Of its rows: the groups, then FIELDS."""
        return {**dict.fromkeys(self.by, "text"), **FIELDS}

    def centre(self, name: str) -> CostLine:
        """A cost centre's rows added up."""
        return summed({}, (row.line for row in self.rows if row.centre == name))


def grouping(by: Sequence[str]) -> tuple[str, ...]:
    """What lines must be grouped by to be reported `by` something."""
    return tuple(dict.fromkeys((*by, *NEEDED)))


def report(by: Sequence[str], lines: Iterable[CostLine], closed: Iterable[CostLine] | None = None) -> Report:
    """Lines that were grouped by `grouping(by)`, as a report; of `closed`, the same without hours that are not closed,
    it is worked out what is provisional."""
    found = _grouped(by, lines)
    before = found if closed is None else _grouped(by, closed)
    total = summed({}, found.values())
    named = summed({}, (line for (centre, _), line in found.items() if centre in NAMED))
    rows = []
    for key, line in found.items():
        sure = before[key].allocated if key in before else Decimal(0)
        rows.append(Row(line, key[0], _shares(key[0], line, named), line.allocated - sure))
    rows.sort(key=lambda row: (CENTRES.index(row.centre), -row.line.loaded, -(row.line.list_cost or 0), _order(row)))
    return Report(tuple(by), tuple(rows), Row(total, "total", None, sum((row.provisional for row in rows), Decimal(0))))


def _grouped(by: Sequence[str], lines: Iterable[CostLine]) -> dict[tuple[str, tuple[str, ...]], CostLine]:
    groups: dict[tuple[str, tuple[str, ...]], list[CostLine]] = defaultdict(list)
    for line in lines:
        centre = centre_of(line)
        nobody = () if centre in NAMED else ASKER
        groups[centre, tuple("" if name in nobody else line.group[name] for name in by)].append(line)
    return {key: summed(dict(zip(by, key[1], strict=True)), held) for key, held in groups.items()}


def versions_in_use(first_uses: Sequence[tuple[str, float]], since: float | None, until: float | None) -> list[str]:
    """Versions of the price list that counted in a period, given when each was first used (seconds since the epoch):
    each counts until the next one does."""
    ordered = sorted(first_uses, key=lambda each: each[1])
    found = []
    for at, (version, first) in enumerate(ordered):
        end = ordered[at + 1][1] if at + 1 < len(ordered) else None
        if (until is None or first < until) and (since is None or end is None or end > since):
            found.append(version)
    return found


def centre_of(line: CostLine) -> str:
    """The cost centre of a line that is grouped by NEEDED."""
    if line.group["team"] == IDLE:
        return IDLE_CENTRE
    if line.group["team"] == OVERHEAD:
        return OVERHEAD_CENTRE
    return QUALITY if line.group["purpose"] in MEASURES else SERVE


def notes(found: Report, versions: Sequence[str] = ()) -> list[str]:
    """How the amounts are made and rounded, and what is not known: in words, for the foot of a table."""
    total = found.total.line
    said = [*SAID]
    if several_currencies(total):
        said.append("List costs are in several currencies, which do not add up: group by currency.")
    if len(versions) > 1:
        said.append(f"List costs come from several versions of the price list: {', '.join(versions)}.")
    if found.total.provisional:
        said.append(
            f"{found.total.provisional:f} USD of it is provisional: its hours are not closed, and it may still change."
        )
    unknown = {
        "have no list price": total.unpriced,
        "have no token counts, as no engine reported them": total.unmetered,
        "say nothing of what was cached, which then counts as uncached": total.cached_unknown,
        "have no GPU cost: their replica has no price, or their hour is not closed": total.unallocated,
    }
    counted = [f"{count:,} {text}" for text, count in unknown.items() if count]
    said.append(f"Unknown, and never counted as zero: of {total.requests:,} requests, " + "; ".join(counted) + "."
                if counted else "Nothing is unknown.")  # fmt: skip
    return said


def _shares(centre: str, line: CostLine, named: CostLine) -> dict[str, Decimal] | None:
    if centre not in NAMED or sums.allocated(line) is None:
        return None
    wholes = {name: getattr(named, name) for name in METHODS}
    if not all(wholes.values()):
        return None
    return {name: (getattr(line, name) / whole).quantize(SHARE_PLACES) for name, whole in wholes.items()}


def _order(row: Row) -> tuple[str, ...]:
    return tuple(row.line.group.values())
