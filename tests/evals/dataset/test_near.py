from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.dataset import near

WORDS = st.lists(st.sampled_from(["price", "plan", "free", "team", "how", "東京", "x"]), min_size=1, max_size=7)
TEXTS = st.lists(st.one_of(WORDS.map(" ".join), st.text("abc 🙂", max_size=9)), max_size=14)


def brute_force(texts: list[str], threshold: float, groups: list[int] | None = None) -> dict[tuple[int, int], float]:
    alike = {(i, j): near.similarity(texts[i], texts[j]) for i, j in combinations(range(len(texts)), 2)}
    together = {(i, j) for i, j in alike if groups and groups[i] == groups[j] >= 0}
    return {pair: value for pair, value in alike.items() if value >= threshold - 1e-9 and pair not in together}


@given(texts=TEXTS, threshold=st.sampled_from([0.5, 0.6, 2 / 3, 0.75, 0.8, 0.9, 1.0]), data=st.data())
def test_every_pair_that_brute_force_finds_is_found_and_no_other(
    texts: list[str], threshold: float, data: st.DataObject
) -> None:
    groups = data.draw(st.lists(st.integers(-1, 2), min_size=len(texts), max_size=len(texts)))
    found = near.find(texts, threshold, groups)
    assert {(p.first, p.second): p.similarity for p in found.pairs} == pytest.approx(
        brute_force(texts, threshold, groups)
    )
    assert found.complete


def test_the_most_similar_pair_comes_first() -> None:
    texts = ["how much is the free plan", "how much is the free plans", "how much is the free plan", "nothing like it"]
    assert [(p.first, p.second) for p in near.find(texts, 0.7).pairs] == [(0, 2), (0, 1), (1, 2)]


def test_a_typo_and_a_greeting_are_near() -> None:
    assert near.similarity("how expensive is the free plan of orbit", "how expensive is teh free plan of orbit") > 0.7
    assert near.similarity("hello how expensive is the free plan", "how expensive is the free plan") > 0.8


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        near.find(["a", "b"], threshold)


def test_a_search_that_meets_its_limit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"what is the price of item number {i}" for i in range(60)]
    assert near.find(texts, 0.7).complete
    monkeypatch.setattr(near, "MOST_CANDIDATES", 100)
    assert not near.find(texts, 0.7).complete
    monkeypatch.setattr(near, "MOST_CANDIDATES", 1_000_000)
    monkeypatch.setattr(near, "MOST_PAIRS", 10)
    assert not near.find(texts, 0.7).complete


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    near.find(["the same text", "the same text"], 0.8, None, lambda done, total: seen.append((done, total)))
    assert seen
    assert seen[-1][0] == seen[-1][1]
