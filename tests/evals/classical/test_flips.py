import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from evals.classical.flips import mcnemar


def test_the_published_table() -> None:
    found = mcnemar(121, 59)
    assert found is not None
    assert found.statistic == pytest.approx(20.672, abs=5e-4)
    assert found.exact == pytest.approx(4.43e-6, rel=2e-3)
    assert found.chi2 == pytest.approx(5.45e-6, rel=2e-2)


def test_a_margin_that_holds_is_not_the_absence_of_a_difference() -> None:
    """8 rose and 12 fell of 200: McNemar sees nothing, which is no proof that nothing is there."""
    found = mcnemar(12, 8)
    assert found is not None
    assert found.exact == pytest.approx(0.503, abs=5e-4)


@given(st.integers(0, 200), st.integers(0, 200))
@settings(deadline=None)
def test_both_directions_are_alike_and_no_p_value_is_above_one(fell: int, rose: int) -> None:
    found, other = mcnemar(fell, rose), mcnemar(rose, fell)
    assert found == other
    if found is not None:
        assert 0.0 <= found.exact <= 1.0
        assert 0.0 <= found.chi2 <= 1.0
        assert found.exact == pytest.approx(binomtest(fell, fell + rose).pvalue, rel=1e-6)


def test_twenty_in_one_direction_are_certain_and_in_the_other_as_well() -> None:
    for fell, rose in ((20, 0), (0, 20)):
        found = mcnemar(fell, rose)
        assert found is not None
        assert found.exact == pytest.approx(2 * 0.5**20)


def test_without_a_flip_there_is_nothing_to_test() -> None:
    assert mcnemar(0, 0) is None
    with pytest.raises(ValueError, match="counts of flips"):
        mcnemar(-1, 3)
