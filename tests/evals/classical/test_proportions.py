import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.classical.proportions import clopper_pearson, wilson

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_ten_of_ten() -> None:
    found = clopper_pearson(10, 10)
    assert found is not None
    assert found == pytest.approx((0.6915, 1.0), abs=5e-5)


def test_wilson_by_its_formula() -> None:
    found = wilson(8, 10)
    z, n, p = 1.959964, 10, 0.8
    centre, away = (p + z * z / (2 * n)), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert found == pytest.approx(((centre - away) / (1 + z * z / n), (centre + away) / (1 + z * z / n)), abs=1e-6)


@given(counts)
@settings(deadline=None)
def test_the_exact_interval_holds_the_other_ones_centre_and_neither_is_empty(pair: tuple[int, int]) -> None:
    for of in (wilson, clopper_pearson):
        found = of(*pair)
        assert found is not None
        assert 0.0 <= found.lower < found.upper <= 1.0, "never [p, p], not even at 0 of n"
        assert found.lower <= pair[0] / pair[1] <= found.upper


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_coverage(share: float) -> None:
    """Clopper and Pearson's covers at least so often, Wilson's about so often; Wald's is what both are better than."""
    drawn = np.random.default_rng(4).binomial(50, share, 1000)
    of_count = {of: [of(passed, 50) for passed in range(51)] for of in (wilson, clopper_pearson)}
    covers = {of: sum(found[k].lower <= share <= found[k].upper for k in drawn) for of, found in of_count.items()}
    assert covers[clopper_pearson] >= 950 - 3 * math.sqrt(1000 * 0.05 * 0.95)
    assert covers[wilson] >= 890
    wald = sum(abs(k / 50 - share) <= 1.96 * math.sqrt(k / 50 * (1 - k / 50) / 50) for k in drawn)
    if share == 0.02:
        assert wald < 700


@pytest.mark.parametrize("of", [wilson, clopper_pearson])
def test_what_is_no_proportion(of) -> None:
    assert of(0, 0) is None
    with pytest.raises(ValueError, match="between 0 and 3 passed"):
        of(4, 3)
    with pytest.raises(ValueError, match="a confidence"):
        of(1, 3, confidence=95.0)
