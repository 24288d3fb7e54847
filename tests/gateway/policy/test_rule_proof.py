"""The proof of the rules: who wins how often, who never does, who meets whom, and what cannot be evaluated."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy import rule_proof
from gateway.policy.rule_proof import HOUR_S, Proof, prove, steps
from gateway.policy.rules import Rulebook
from tests.gateway.ruled import BRAZIL, CONDITIONS, PEAK, config, ruled

SINCE = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
HOURS = 2 * 366 * 24


def _proof(*conditions: str, hours: int = HOURS, **changes: Any) -> Proof:
    return prove(Rulebook(ruled(*conditions, **changes)), SINCE, SINCE + hours * HOUR_S, lambda: None)["faq"]


def test_one_rule_wins_each_time() -> None:
    proof = _proof('"peak" in local.windows && key.team == "a"', "local.is_holiday", "req.stream")
    assert sum(proof.wins.values()) == proof.moments * len(proof.samples.requests)
    assert proof.moments >= 2 * HOURS
    assert proof.distinct < 20
    assert min(proof.wins.values()) > 0


def test_wins_are_counted_in_hours_of_all_regions() -> None:
    proof = _proof('region == "BR-SP" && local.date == "2027-02-09"')
    assert proof.wins["r0"] == 24


def test_a_window_of_minutes_between_two_hours_is_not_missed() -> None:
    window = {"rrule": "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=3;BYHOUR=3;BYMINUTE=10;BYSECOND=0", "duration": "PT5M"}
    proof = _proof('"short" in local.windows', windows={"short": window, "peak": PEAK})
    assert (proof.wins["r0"], proof.dead) == (4, [])  # once a year in each of two regions


def test_rules_that_read_minutes_are_tried_in_those_that_they_name() -> None:
    proof = _proof("local.minute == 17", "local.minute_of_day > 1438", hours=48)
    assert [dead.rule for dead in proof.dead] == []
    assert _proof("local.minute % 2 == 1", hours=48).dead == []


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo"])
@pytest.mark.parametrize(
    "condition",
    [
        "local.minute < 15 && local.hour == 4",
        "local.minute_of_day == 610",
        'local.hour == 10 && "short" in local.windows && local.minute < 15',
        " || ".join(f"local.minute == {minute}" for minute in range(1, 60, 7)),
        "local.minute in [7, 11] && local.hour == 1",
        "local.minute_of_day % 77 == 3",
        'local.date == "2027-04-04" && local.hour < 3 && local.minute != 30',
    ],
)
def test_what_is_tried_is_all_that_any_minute_can_be(zone: str, condition: str) -> None:
    """Three days, in whose second night the clock of Lord Howe goes back by half an hour, by brute force."""
    window = {"rrule": "FREQ=DAILY;BYHOUR=9;BYMINUTE=45;BYSECOND=30", "duration": "PT30M"}
    regions = {"calendars": {"IN": {"timezone": zone}}, "default": "IN"}
    since = datetime(2027, 4, 2, tzinfo=UTC).timestamp()
    book = Rulebook(ruled(condition, windows={"short": window, "peak": PEAK}, regions=regions))
    found, calendar = book.books["faq"], book.calendars.regions["IN"]
    every = [found.seen("IN", since + at * 60, calendar.at(since + at * 60)) for at in range(72 * 60)]
    proof = prove(book, since, since + 72 * HOUR_S, lambda: None)["faq"]
    assert proof.left_out == 0
    holds = {found.settle("IN", 0, each.values).rule for each in every}
    assert {rule for rule, won in proof.wins.items() if won} == holds == {"r0", "default"}


def test_minutes_are_left_out_where_each_moment_is_another_and_this_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_proof, "MOMENTS", 1000)  # of two years they take 20 s
    rules = 'now < timestamp("2026-11-23T00:00:00Z")', "local.minute % 2 == 1", "local.minute == 50"
    proof = _proof(*rules, hours=48)
    assert 0 < proof.left_out < 60
    assert proof.dead == []
    assert _proof("local.minute % 2 == 1", hours=48).left_out == 0


def test_rules_that_never_win_are_found_with_the_reason() -> None:
    proof = _proof(
        '"peak" in local.windows',
        '"peak" in local.windows && key.team == "a"',
        "local.hour > 24",
        '"Carnaval" in local.holidays',
    )
    assert [(dead.rule, dead.behind) for dead in proof.dead] == [("r1", ("r0",)), ("r2", ()), ("r3", ())]
    assert [dead.hint for dead in proof.dead] == [
        None, None, "no region has a holiday 'Carnaval' in this time: did you mean 'Carnival'?"
    ]  # fmt: skip


def test_what_is_proven_is_told_apart_from_what_was_not_seen() -> None:
    proof = _proof(
        'now == timestamp("2027-01-01T00:20:00Z")',
        'local.hour > 24 && key.team == "a"',
        'key.team.matches("^acme-")',
        "req.stream && local.hour == 3",
        'req.stream && local.hour == 3 && key.team == "a"',
    )
    assert [(dead.rule, dead.proven) for dead in proof.dead] == [
        ("r0", False), ("r1", True), ("r2", False), ("r4", False)
    ]  # fmt: skip
    proof = _proof('key.team == "a"', 'key.team == "a" && local.hour == 3')
    assert [(dead.rule, dead.behind, dead.proven) for dead in proof.dead] == [("r1", ("r0",), True)]


def test_rules_whose_time_is_over_are_dead_and_those_to_come_are_not() -> None:
    rules = [
        {"id": "over", "until": "2026-11-01T00:00Z", "release": "faq@2"},
        {"id": "moment", "from": "2027-03-03T03:10Z", "until": "2027-03-03T03:20Z", "release": "faq@2"},
    ]
    proof = prove(Rulebook(config({"faq": rules})), SINCE, SINCE + HOURS * HOUR_S, lambda: None)["faq"]
    assert [dead.rule for dead in proof.dead] == ["over"]
    assert proof.wins["moment"] == 2


def test_rules_that_hold_together_are_found_with_an_example() -> None:
    proof = _proof('key.team == "a"', 'headers["x-tier"] == "gold"', 'key.team == "b"', "local.hour < 0")
    assert [(each.winner, each.other) for each in proof.overlaps] == [("r0", "r1"), ("r1", "r2")]
    example = proof.overlaps[0].example
    assert (example.request, example.region) == ({"headers.x-tier": "gold", "key.team": "a"}, "BR-SP")
    assert SINCE <= example.at < SINCE + HOURS * HOUR_S
    assert proof.pairs == 2


def test_an_error_is_found_with_its_case() -> None:
    proof = _proof('key.team == "a" && int(headers["x-tier"]) > 3', "local.hour / (local.day - 29) > 100")
    assert [(each.place, each.rule) for each in proof.failures] == [(0, "r0"), (1, "r1")]
    assert proof.failures[0].example.request["key.team"] == "a"
    assert proof.failures[1].message.startswith("ZeroDivisionError")
    assert datetime.fromtimestamp(proof.failures[1].example.at, UTC).day in (29, 30)


def test_an_example_can_be_replayed() -> None:
    book = Rulebook(ruled('key.team == "a" && "peak" in local.windows', 'key.team == "a"'))
    proof = prove(book, SINCE, SINCE + 200 * HOUR_S, lambda: None)["faq"]
    example = proof.overlaps[0].example
    local = book.calendars.at(example.region, example.at)
    inputs = {"region": example.region, **example.request, "local.windows": local["windows"]}
    assert [step.holds for step in book.explain("faq", inputs)] == [True, True, True]


def test_thousands_of_rules_are_proved_in_little_time() -> None:
    conditions = [f'headers["x-tier"] == "t{at}" && "peak" in local.windows' for at in range(2000)]
    proof = _proof(*conditions)
    assert proof.dead == []
    assert not proof.samples.whole or len(proof.samples.requests) == 2002


def test_progress_is_told_in_steps() -> None:
    book = Rulebook(
        config({"a": [{"id": "x", "when": "req.stream"}], "b": [], "c": [{"id": "x", "when": "req.stream"}]})
    )
    told = []
    assert set(prove(book, SINCE, SINCE + HOUR_S, lambda: told.append(1))) == {"a", "c"}
    assert len(told) == steps(book) == 4
    nothing = Rulebook(config({"a": []}))
    assert (prove(nothing, SINCE, SINCE + HOUR_S, lambda: None), steps(nothing)) == ({}, 0)


@settings(max_examples=30)
@given(st.lists(CONDITIONS, min_size=1, max_size=4))
def test_the_proof_and_what_serves_agree(conditions: list[str]) -> None:
    """The proof asks every rule by bits; what serves stops at the first: for an hour they name the same winner."""
    book = Rulebook(ruled(*conditions, regions={"calendars": {"BR-SP": BRAZIL}, "default": "BR-SP"}))
    proof = prove(book, SINCE, SINCE + 3 * HOUR_S, lambda: None, cells=5000)["faq"]
    loaded, wins = book.books["faq"], dict.fromkeys(proof.wins, 0)
    moments = [SINCE + hour * HOUR_S for hour in range(3)]
    if proof.moments != len(moments):
        return  # a window turns, or minutes are read: other moments were tried too
    for at in moments:
        moment = loaded.seen("BR-SP", at, book.calendars.at("BR-SP", at))
        for request in proof.samples.requests:
            wins[loaded.settle("BR-SP", moment.span, {**moment.values, **request}).rule] += 1
    assert wins == proof.wins
