"""The cases of a model: moments that are alike for its rules are tried once and counted as often as they came."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.rule_cases import Cases, Seen, bits
from gateway.policy.rules import Rulebook
from tests.gateway.ruled import ruled

SINCE = datetime(2026, 11, 23, tzinfo=UTC).timestamp()


def _cases(*conditions: str) -> Cases:
    book = Rulebook(ruled(*conditions))
    loaded = book.books["faq"]
    moments = [SINCE + hour * 3600 for hour in range(24)]
    return Cases(loaded, [Seen(loaded.seen("BR-SP", at, book.calendars.at("BR-SP", at)), 2, at) for at in moments])


def test_hours_that_no_rule_tells_apart_are_one_kind() -> None:
    cases = _cases("local.hour < 12", 'key.team == "a"')
    assert cases.cost == 2
    tally = cases.try_all([{"key.team": "a"}, {"key.team": "b"}])
    assert tally.counts == {0b111: 24, 0b110: 24, 0b101: 24, 0b100: 24}
    assert sum(tally.counts.values()) == 24 * 2 * 2


def test_rules_that_read_both_are_tried_for_each_of_what_they_read() -> None:
    cases = _cases('local.hour < 12 && key.team != "a"')
    assert (cases.cost, cases.rules) == (24, 24)
    assert cases.try_all([{"key.team": "a"}, {"key.team": "b"}]).counts == {0b10: 72, 0b11: 24}


def test_the_first_case_of_each_outcome_is_kept() -> None:
    tally = _cases('key.team != "a" && local.hour == 5').try_all([{"key.team": "a"}, {"key.team": "b"}])
    example = tally.examples[0b11]
    assert (example.request, example.at) == ({"key.team": "b"}, SINCE + 8 * 3600)  # 05:00 in São Paulo


def test_a_rule_that_fails_does_not_hold_and_is_told_once() -> None:
    tally = _cases("int(key.team) > 1").try_all([{"key.team": "7"}, {"key.team": "x"}, {"key.team": "y"}])
    assert tally.counts == {0b11: 48, 0b10: 96}
    assert tally.failures[0].example.request == {"key.team": "x"}


@given(st.sets(st.integers(0, 5000)))
def test_the_places_of_a_set(places: set[int]) -> None:
    assert list(bits(sum(1 << place for place in places))) == sorted(places)
