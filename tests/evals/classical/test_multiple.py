import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.classical.multiple import adjusted

FOUR = [0.01, 0.04, 0.03, 0.005]


def test_the_reference_values() -> None:
    assert adjusted(FOUR) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjusted(FOUR, "fdr_bh") == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_what_is_not_known_does_not_count() -> None:
    assert adjusted([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]
    assert adjusted([None, None]) == [None, None]
    assert adjusted([]) == []


def test_what_is_no_p_value_is_refused() -> None:
    for value in (1.2, -0.1, float("nan")):
        with pytest.raises(ValueError, match="p-values in"):
            adjusted([0.5, value])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(deadline=None, max_examples=10)
def test_it_makes_none_smaller_and_holm_is_the_stricter(values: list[float]) -> None:
    for p, holm, other in zip(values, adjusted(values), adjusted(values, "fdr_bh"), strict=True):
        assert holm is not None
        assert other is not None
        assert p - 1e-12 <= other <= holm + 1e-12
        assert holm <= 1.0
