"""How budgets stand: what the ledger says, and what is held where it is counted."""

from pathlib import Path

from gateway.admin import budgets
from gateway.policy.budgets import Claim
from gateway.stores.memory_budgets import MemoryBook
from tests.gateway.admin.desk import desk
from tests.gateway.builders import NOW


async def test_what_is_held_is_told_and_what_nobody_counts_is_not_known(tmp_path: Path) -> None:
    made = desk(tmp_path)
    of = budgets.budgets_of(made.deployment, NOW)
    assert of is not None
    found = budgets.spent(of, made.house.stores.spend, NOW)
    assert [(counter.budget, spent) for counter, spent in found] == [("search", 500_000_000), ("each", 500_000_000)]
    counter = found[0][0]
    book = MemoryBook(lambda: NOW, lambda: NOW, lambda name, before, after: None)
    await book.load(counter.id, 500_000_000, NOW, counter.keep_until)
    await book.reserve("r", [Claim(counter.id, counter.limit, 2_000_000_000, True)], 60.0)
    held = await budgets.held(book, [each for each, _ in found])
    one, other = budgets.values(found, held, of.currency)
    assert (one["spent"], one["reserved"], one["left"], one["amount"]) == ("0.50", "2.00", "7.50", "10.00")
    assert (other["of"], other["reserved"], other["left"]) == ("key=k", None, "4.50")


def test_there_may_be_none(tmp_path: Path) -> None:
    assert budgets.budgets_of(desk(tmp_path, budgets={}).deployment, NOW) is None
