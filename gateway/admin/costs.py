"""What was used and what it cost, for whoever may see all of it: `gateway costs` and the admin API."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gateway.costs import sheets
from gateway.costs.forecast import month_of
from gateway.costs.report import Report, grouping, notes, report, versions_in_use
from gateway.stores.bundle import Stores
from gateway.stores.cost_lines import HOUR_S, CostLine
from gateway.stores.costs import ClosedHour


class Asked(NamedTuple):
    """What was asked of the ledger. Times in seconds since the epoch; `now` cuts what is paid for but not over."""

    stores: Stores
    by: tuple[str, ...]
    where: Mapping[str, str]
    since: float | None
    until: float | None
    now: float
    books: Sequence[ClosedHour]

    def lines(self, by: Sequence[str]) -> list[CostLine]:
        """Lines of the period, those of hours that are not closed too."""
        return self.stores.costs.lines(by, self.since, self.until, self.where, self.books)

    def closed(self, by: Sequence[str]) -> list[CostLine]:
        """Lines of the period, without GPU money of hours that are not closed."""
        return self.stores.costs.lines(by, self.since, self.until, self.where)

    def notes(self, found: Report) -> list[str]:
        """What has to be said of a report, of prices in several versions and of gateways that disagree too."""
        first_uses = [(each.version, each.first_used_at) for each in self.stores.price_books.versions()]
        said = [*self.first(found), *notes(found, versions_in_use(first_uses, self.since, self.until))]
        for each in self.stores.rentals.conflicts(self.since or 0.0):
            if self.until is None or each.at < self.until:
                said.append(
                    f"Gateways disagree on the price of {each.replica!r}: {each.before.gateway!r} declared "
                    f"{each.before.usd_per_gpu_hour}, and {each.after.gateway!r} {each.after.usd_per_gpu_hour} USD per "
                    f"GPU hour, which counts from {_written(each.at)} on."
                )
        return said

    def first(self, found: Report) -> list[str]:
        """What has to be said of a report before it is believed: that it is empty, or that a month is not cut."""
        said = [] if found.rows else [self._nothing()]
        whole = self.stores.costs.summed_until()
        edges = [each for each in (self.since, self.until) if each is not None and each // HOUR_S < whole]
        if cut := [_written(each)[:10] for each in edges if each // HOUR_S != month_of(each)[0]]:
            said.append(
                f"The hours before {_written(whole * HOUR_S)[:10]} (UTC) have been put together into months, which "
                f"cannot be cut: each counts whole, on its first day, and {' and '.join(cut)} lies within one."
            )
        return said

    def _nothing(self) -> str:
        """Why a report is empty."""
        months = sorted({line.group["month"] for line in self.stores.costs.lines(("month",), books=self.books)})
        if not months:
            return "The ledger is empty: nothing was asked yet, and no GPU has a price."
        span = months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"
        return f"Nothing in the ledger is of this period and choice: it holds requests and GPU time of {span} (UTC)."

    def report(self) -> Report:
        """The report that was asked for."""
        return report(self.by, self.lines(grouping(self.by)), self.closed(grouping(self.by)))

    def document(self) -> dict[str, Any]:
        """The report's rows, its total, and what has to be said of them, as JSON has it. Amounts are text."""
        found = self.report()
        total = {name: sheets.plain(value) for name, value in found.total.values().items()}
        rows = [{name: sheets.plain(value) for name, value in row.values().items()} for row in found.rows]
        return {"totals": total, "rows": rows, "notes": self.notes(found)}


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
