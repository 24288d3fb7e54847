"""Lines of costs added up: what is known stays exact, and what is not stays unknown."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from gateway.stores.cost_lines import CostLine

COUNTS = ("requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
AMOUNTS = ("allocated", "loaded", "by_requests", "by_tokens", "by_weight")
UNKNOWN = ("unpriced", "unmetered", "cached_unknown", "unallocated")


def summed(group: Mapping[str, str], lines: Iterable[CostLine]) -> CostLine:
    """One line of several. Its list cost is None when none of them has one, and when their currencies differ, which do
    not add up."""
    held = list(lines)
    currencies = {line.currency for line in held if line.list_cost is not None}
    mixed = len(currencies) > 1 or any(several_currencies(line) for line in held)
    known = [line.list_cost for line in held if line.list_cost is not None]
    sums: dict[str, Any] = {name: sum(getattr(line, name) for line in held) for name in (*COUNTS, *UNKNOWN)}
    sums |= {name: sum((getattr(line, name) for line in held), Decimal(0)) for name in AMOUNTS}
    return CostLine(
        group=dict(group),
        list_cost=sum(known, Decimal(0)) if known and not mixed else None,
        currency=next(iter(currencies)) if currencies and not mixed else None,
        **sums,
    )


def several_currencies(line: CostLine) -> bool:
    """Whether list costs of a line are known and do not add up."""
    return line.list_cost is None and line.unpriced < line.requests


def list_cost(line: CostLine) -> Decimal | None:
    """Its cost by the price list; zero where nobody asked for anything, None where it is not known."""
    return Decimal(0) if line.requests == 0 and line.list_cost is None else line.list_cost


def allocated(line: CostLine) -> Decimal | None:
    """Its part of the GPUs' time; None where none of its requests has one: no price of the replica, or not closed."""
    return None if 0 < line.requests == line.unallocated and not line.allocated else line.allocated


def loaded(line: CostLine) -> Decimal | None:
    """The same with its part of what nobody used."""
    return None if allocated(line) is None else line.loaded
