"""What the decision by rules costs: every figure is there, and the rules that are measured are asked."""

import pytest

from benchmarks import rules
from gateway.policy.rules import Rulebook


def test_every_figure_is_measured() -> None:
    figures = rules.measure(2, 30, 20)
    assert set(figures) == {"same", "new minute", "new header", "build"}
    assert min(figures.values()) > 0


@pytest.mark.parametrize("count", [1, 30])
def test_no_rule_wins_so_that_all_are_asked(count: int) -> None:
    book = Rulebook(rules.configuration(1, count))
    found = book.decide("m0", rules.REQUEST, rules.PRINCIPAL, {}.get, rules.START)
    assert found is not None
    assert (found.rule, found.errors) == ("default", ())
    assert rules.START % 60 == 0
