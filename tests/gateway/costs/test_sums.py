"""Lines added up: exact, and what is not known stays so."""

from dataclasses import replace
from decimal import Decimal

from gateway.costs import sums
from tests.gateway.costed import cost_line, nobody


def test_amounts_and_counts_are_added_up_exactly() -> None:
    found = sums.summed({"a": "b"}, [cost_line("0.000000001", requests=2**62), cost_line("0.999999999", requests=1)])
    assert found.group == {"a": "b"}
    assert (found.allocated, found.loaded, found.by_tokens) == (1, 1, 1)
    assert found.requests == 2**62 + 1
    assert (found.list_cost, found.currency) == (1, "USD")


def test_an_unknown_list_cost_is_no_zero_and_hides_no_other() -> None:
    unpriced = cost_line(list_cost=None, currency=None, unpriced=1)
    assert sums.list_cost(sums.summed({}, [unpriced])) is None
    both = sums.summed({}, [unpriced, cost_line()])
    assert (both.list_cost, both.currency, both.unpriced) == (Decimal("0.5"), "USD", 1)
    assert sums.list_cost(sums.summed({}, [nobody()])) == 0
    assert sums.list_cost(sums.summed({}, [])) == 0


def test_currencies_do_not_add_up() -> None:
    mixed = sums.summed({}, [cost_line(), cost_line(currency="EUR")])
    assert (mixed.list_cost, mixed.currency) == (None, None)
    assert sums.several_currencies(mixed)
    assert sums.several_currencies(sums.summed({}, [mixed, cost_line()]))
    assert not sums.several_currencies(cost_line())


def test_what_no_gpu_price_is_known_for_is_unknown() -> None:
    lost = replace(cost_line("0"), unallocated=1)
    assert (sums.allocated(lost), sums.loaded(lost)) == (None, None)
    assert sums.allocated(sums.summed({}, [lost, cost_line("2")])) == 2
    assert sums.allocated(nobody("__idle__", "0")) == 0
    assert sums.loaded(cost_line("2")) == 2
