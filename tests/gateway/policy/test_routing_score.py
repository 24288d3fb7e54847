"""The score: what waits, what has to be computed, what the engines say; and never zero for what they do not say."""

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.policy.routing import KV_ROOMY, LOAD_CAP, MISS, Ask, Candidate, least_outstanding, score, terms
from tests.gateway.policy.test_routing import ASKS, CANDIDATES, alike

LOADS = st.lists(st.integers(0, 10**6), min_size=1, max_size=12)


@settings(deadline=None)
@given(LOADS, ASKS)
def test_unique_prompts_are_routed_as_by_the_fewest_outstanding_tokens(loads: list[int], ask: Ask) -> None:
    seen = [Candidate(f"r{at}", outstanding=load, kv_usage=0.5, waiting=0) for at, load in enumerate(loads)]
    assert score(seen, ask).position == least_outstanding(seen, ask).position


@settings(deadline=None)
@given(CANDIDATES, ASKS)
def test_a_prefix_beyond_the_cap_changes_nothing(seen: list[Candidate], ask: Ask) -> None:
    cap = max(ask.tokens, LOAD_CAP * (ask.tokens + sum(each.outstanding for each in seen)) / len(seen))
    without = [msgspec.structs.replace(each, cached=0) if each.outstanding > cap else each for each in seen]
    capped, plain = score(seen, ask), score(without, ask)
    assert (capped.position, capped.scores) == (plain.position, plain.scores)


@settings(deadline=None)
@given(LOADS, st.integers(0, 11), st.integers(1, 100_000))
def test_a_hot_prefix_goes_to_no_replica_beyond_the_cap(loads: list[int], hot: int, tokens: int) -> None:
    seen = [
        Candidate(f"r{at}", outstanding=load, cached=tokens * (at == hot % len(loads))) for at, load in enumerate(loads)
    ]
    chosen = seen[score(seen, Ask(tokens=tokens)).position]
    assert chosen.outstanding <= max(tokens, LOAD_CAP * (tokens + sum(loads)) / len(loads))


def test_one_hot_prefix_spreads_over_the_fleet() -> None:
    """Every request has the same prompt, all of them at once: nobody gets more than its share and half of it again."""
    outstanding, held, tokens = [0] * 8, [0] * 8, 6000
    for turn in range(400):
        seen = [Candidate(f"r{at}", outstanding=outstanding[at], cached=held[at]) for at in range(8)]
        chosen = score(seen, Ask(tokens=tokens, turn=turn)).position
        outstanding[chosen] += tokens - held[chosen] + 150
        held[chosen] = tokens - 200
    assert max(outstanding) <= LOAD_CAP * sum(outstanding) / 8 + tokens
    assert min(held) > 0


def test_a_prefix_is_worth_its_tokens_and_no_more() -> None:
    ask, worth = Ask(tokens=6000), int(MISS * 4000)

    def among(holder: int, other: int, count: int = 1) -> tuple[bool, str]:
        seen = [Candidate("holder", outstanding=holder, cached=4000), *alike(count, outstanding=other)]
        found = score(seen, ask)
        return found.position == 0, found.reason.split()[0]

    assert among(5999, 0) == (True, "prefix")
    assert among(30_000 + worth - 1, 30_000) == (True, "prefix")
    assert among(30_000 + worth + 1, 30_000) == (False, "load")
    assert among(6001, 0, count=7) == (False, "load_cap")


def test_the_engines_words_count_where_all_of_them_speak() -> None:
    full = [Candidate("full", kv_usage=1.0, waiting=0), Candidate("empty", kv_usage=0.1, waiting=0)]
    queue = [Candidate("queue", kv_usage=0.5, waiting=3), Candidate("none", kv_usage=0.5, waiting=0)]
    for seen in (full, queue):
        choice = score(seen, Ask(tokens=100))
        assert (choice.position, choice.reason) == (1, "load")


def test_a_cache_with_room_is_as_good_as_an_empty_one() -> None:
    roomy = [Candidate("half", kv_usage=KV_ROOMY, waiting=0), Candidate("empty", kv_usage=0.0, waiting=0)]
    assert {score(roomy, Ask(tokens=100, turn=turn)).position for turn in range(2)} == {0, 1}


def test_waiting_requests_that_are_the_gateways_own_are_not_counted_twice() -> None:
    own = [Candidate("own", in_flight=5, kv_usage=0.5, waiting=5), Candidate("other", kv_usage=0.5, waiting=0)]
    assert {score(own, Ask(tokens=100, turn=turn)).position for turn in range(2)} == {0, 1}


@settings(deadline=None)
@given(CANDIDATES, ASKS)
def test_a_missing_metric_is_said_and_left_out_for_all(seen: list[Candidate], ask: Ask) -> None:
    found = score(seen, ask)
    blind = seen
    for term, word in (("kv_usage", "no_kv"), ("waiting", "no_waiting")):
        missing = any(getattr(each, term) is None for each in seen)
        assert (word in found.reason.split()) == missing
        if missing:
            blind = [msgspec.structs.replace(each, **{term: None}) for each in blind]
    assert score(blind, ask) == found


@pytest.mark.parametrize("silent", [{"kv_usage": None}, {"waiting": None}])
def test_a_missing_metric_is_never_read_as_zero(silent: dict[str, None]) -> None:
    says = Candidate("says", kv_usage=0.9, waiting=9)
    seen = [says, msgspec.structs.replace(Candidate("silent", kv_usage=0.9, waiting=9), **silent)]
    assert {score(seen, Ask(tokens=100, turn=turn)).position for turn in range(2)} == {0, 1}


@settings(deadline=None)
@given(CANDIDATES, ASKS)
def test_the_terms_make_the_score(seen: list[Candidate], ask: Ask) -> None:
    found = score(seen, ask)
    explained = terms(seen, ask)
    assert [each["name"] for each in explained] == [each.name for each in seen]
    for each, reached in zip(explained, found.scores, strict=True):
        parts = [each[name] or 0.0 for name in ("outstanding", "uncached", "kv", "queue")]
        assert each["score"] == reached
        assert reached == pytest.approx(-(sum(map(float, parts)) + 1) / float(each["weight"] or 0))
    chosen = explained[found.position]
    assert ("prefix" in found.reason) <= (chosen["capped"] is False)


@settings(deadline=None)
@given(CANDIDATES, ASKS, st.integers(1, 1000))
def test_more_of_a_prefix_never_loses_a_request(seen: list[Candidate], ask: Ask, more: int) -> None:
    chosen = score(seen, ask).position
    assume(score(seen, ask).scores.count(max(score(seen, ask).scores)) == 1)
    better = [msgspec.structs.replace(each, cached=each.cached + more * (at == chosen)) for at, each in enumerate(seen)]
    assert score(better, ask).position == chosen


def test_an_idle_pool_keeps_what_its_caches_hold() -> None:
    seen = [*alike(3), Candidate("holder", outstanding=1300, cached=6000)]
    assert {score(seen, Ask(tokens=7200, turn=turn)).position for turn in range(8)} == {3}
