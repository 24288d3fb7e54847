"""How budgets stand: what `gateway budgets` and the admin API both tell."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.config import Deployment
from gateway.costs import fleet
from gateway.policy.budgets import Budgets, Counter, Standing, compiled, moment, money
from gateway.stores.budget_book import Book
from gateway.stores.spend import Spend

Spent = tuple[Counter, int]


def budgets_of(deployment: Deployment, now: float) -> Budgets | None:
    """The budgets of a deployment; None: it has none. Raises InputError for a lost profile."""
    return compiled(deployment, fleet.rates(deployment.config, now))


def spent(made: Budgets, spend: Spend, now: float) -> list[Spent]:
    """Every counter with what the ledger says, in nano; with `each`, those of whom there is something."""
    found = []
    for name, budget in made.configs.items():
        if budget.each is None:
            counter = made.of(name, "", now)
            found.append((counter, spend.spent(counter, made.currency)))
            continue
        for subject, amount in sorted(spend.subjects(made.all_of(name, now), budget.each, made.currency).items()):
            found.append((made.of(name, subject, now), amount))
    return found


async def held(book: Book, counters: Sequence[Counter]) -> dict[str, Standing]:
    """How the counters stand where they are counted, by their ids; those that nobody has loaded are not there.

    Raises BookAway.
    """
    standings = await book.standings([counter.id for counter in counters])
    return {each.id: found[0] for each, found in zip(counters, standings, strict=True) if found is not None}


def values(found: Sequence[Spent], held: Mapping[str, Standing], currency: str) -> list[dict[str, Any]]:
    """What is told of each: amounts as text, so that none is rounded; `reserved` None: nobody knows."""
    return [_values(counter, amount, held.get(counter.id), currency) for counter, amount in found]


def _values(counter: Counter, spent: int, standing: Standing | None, currency: str) -> dict[str, Any]:
    total = spent if standing is None else standing.total
    reserved = None if standing is None else standing.reserved
    parts = (("key", counter.key), ("team", counter.team), ("model", counter.model))
    return {
        "budget": counter.budget,
        "of": " ".join(f"{name}={value}" for name, value in parts if value is not None),
        "money": f"{counter.money} {currency}" if counter.money == "list" else "gpu",
        "amount": money(counter.limit),
        "spent": money(total),
        "reserved": None if reserved is None else money(reserved),
        "left": money(counter.limit - total - (reserved or 0)),
        "resets_at": moment(counter.until),
    }
