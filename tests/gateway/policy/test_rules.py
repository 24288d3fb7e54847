"""The rules of a model: the first that holds wins, whatever is remembered, and the same inputs win again."""

import itertools
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import InputError
from gateway.policy.calendar import Calendars
from gateway.policy.rules import Decision, Rulebook, Ruled
from gateway.settings import conditions
from gateway.settings.conditions import ERRORS
from tests.gateway.builders import principal
from tests.gateway.ruled import CONDITIONS, HEADERS, config, header, request, ruled

EVE = datetime(2026, 12, 24, 21, 30, tzinfo=UTC).timestamp()
"""18:30 in São Paulo, a Thursday in summer: in the window `peak`, and Christmas Eve."""


def _decide(
    book: Rulebook, now: float = EVE, team: str = "search", fields: dict[str, Any] | None = None, **headers: str
) -> Decision:
    found = book.decide("faq", request(**(fields or {})), principal(team=team), header(**headers), now)
    assert found is not None
    return found


def test_a_model_without_rules_has_no_decision() -> None:
    book = Rulebook(config({"faq": []}))
    assert book.decide("faq", request(), principal(), header(), EVE) is None
    book.prepare(EVE)


def test_the_first_that_holds_wins_and_the_last_always_does() -> None:
    book = Rulebook(ruled('key.team == "a"', 'key.team in ["a", "b"]', '"peak" in local.windows && key.team == "c"'))
    assert {team: _decide(book, team=team).rule for team in "abcd"} == {"a": "r0", "b": "r1", "c": "r2", "d": "default"}
    assert _decide(book, team="d").release == "live"
    assert _decide(book, team="a").release == "faq@2"


def test_the_issue_by_example() -> None:
    rules = [
        {"id": "carnival", "when": 'local.holidays.exists(h, h.startsWith("Carnival"))', "release": "faq@2"},
        {"id": "black-friday", "when": 'key.team == "sales" && headers["x-intent"] == "buy"', "release": "faq@3",
         "from": "2026-11-27T00:00-03:00", "until": "2026-12-01T00:00-03:00"},
        {"id": "gold", "when": 'headers["x-tier"] == "gold" && "summer" in local.seasons', "release": "faq@2"},
    ]  # fmt: skip
    book = Rulebook(config({"faq": rules}))

    def at(text: str, **asked: str) -> str:
        return _decide(book, datetime.fromisoformat(text).timestamp(), **asked).rule

    assert at("2027-02-09T12:00-03:00") == "carnival"
    assert at("2027-02-09T12:00-03:00", x_region="US-CA") == "default"
    sales = {"team": "sales", "x_intent": "buy"}
    times = [
        "2026-11-26T23:59:59.9-03:00",
        "2026-11-27T00:00-03:00",
        "2026-11-30T23:59:59.9-03:00",
        "2026-12-01T00:00-03:00",
    ]
    assert [at(each, **sales) for each in times] == ["default", "black-friday", "black-friday", "default"]
    assert at("2026-12-31T23:00-03:00", x_tier="gold") == "gold"
    assert at("2026-12-20T23:00-03:00", x_tier="gold") == "default"


def test_a_boundary_within_a_minute_counts_at_once() -> None:
    rules = [{"id": "late", "from": "2026-12-24T21:30:30.5Z", "release": "faq@2"}]
    book = Rulebook(config({"faq": rules}))
    assert [_decide(book, EVE + s).rule for s in (0, 30.4, 30.5, 59, 30.4, 61)] == [
        "default", "default", "late", "late", "default", "late"
    ]  # fmt: skip


def test_a_rule_that_cannot_be_evaluated_does_not_hold_and_is_counted() -> None:
    counted = Counter[tuple[str, str]]()
    book = Rulebook(
        ruled('int(headers["x-tier"]) > 3', 'key.team == "b"', "1 / req.max_tokens == 1"),
        lambda model, rule: counted.update([(model, rule)]),
    )
    assert _decide(book, team="b", x_tier="gold").errors == ("r0",)
    assert _decide(book, team="b", x_tier="gold").rule == "r1"
    assert _decide(book, x_tier="gold").errors == ("r0", "r2")
    assert _decide(book, x_tier="7") == _decide(book, x_tier="7")
    assert _decide(book, x_tier="7").rule == "r0"
    assert counted == {("faq", "r0"): 3, ("faq", "r2"): 1}


def test_a_decision_is_remembered_while_what_is_read_stays() -> None:
    book = Rulebook(ruled('"peak" in local.windows && key.team == "a"'))
    first = _decide(book, team="a")
    assert _decide(book, EVE + 3600, team="a") is first  # another hour of the same window
    assert _decide(book, EVE + 3600, team="b") is not first
    assert _decide(book, EVE + 6 * 3600, team="a").rule == "default"
    assert _decide(book, EVE, team="a") is first


def test_a_decision_is_of_its_region_also_where_no_rule_reads_it() -> None:
    book = Rulebook(ruled('key.team == "a"'))
    assert [_decide(book, x_region=region).region for region in ("BR-SP", "US-CA", "BR-SP")] == [
        "BR-SP",
        "US-CA",
        "BR-SP",
    ]


def test_what_a_decision_was_made_by_is_told() -> None:
    book = Rulebook(ruled('key.team == "a" && "peak" in local.windows', "now > timestamp('2027-01-01T00:00:00Z')"))
    found = _decide(book, EVE + 12, x_region="US-CA")
    assert found.region == "US-CA"
    assert found.inputs == {
        "region": "US-CA", "local.windows": (), "now": "2026-12-24T21:30:00+00:00", "key.team": "search"
    }  # fmt: skip


def test_the_same_inputs_decide_the_same_also_in_another_rulebook() -> None:
    rules = [
        {"id": "gold", "when": 'headers["x-tier"] == "gold"', "until": "2027-01-01T00:00Z", "release": "faq@2"},
        {"id": "long", "when": "req.body_bytes > 100 && now > timestamp('2026-01-01T00:00:00Z')", "release": "faq@3"},
    ]
    for now, tier in itertools.product((EVE, EVE + 30 * 86_400), ("gold", "")):
        found = _decide(Rulebook(config({"faq": rules})), now, x_tier=tier)
        assert Rulebook(config({"faq": rules})).replay("faq", json.loads(json.dumps(found.inputs))) == found


def test_inputs_of_other_rules_are_refused() -> None:
    book = Rulebook(
        config({"faq": [{"id": "a", "when": 'key.team == "a"', "until": "2027-01-01T00:00Z"}], "plain": []})
    )
    with pytest.raises(InputError, match=r"not recorded: key\.team, since; they are other rules by now"):
        book.replay("faq", {"region": "BR-SP"})
    with pytest.raises(InputError, match="'plain' has no rules; those that have are faq"):
        book.replay("plain", {})


def test_every_rule_is_explained() -> None:
    rules = [
        {"id": "over", "until": "2026-01-01T00:00Z", "release": "faq@2"},
        {"id": "broken", "when": "int(key.team) > 1", "release": "faq@2"},
        {"id": "no", "when": 'key.team == "b"', "release": "faq@2"},
        {"id": "yes", "when": 'key.team == "a"', "release": "faq@3"},
    ]
    book = Rulebook(config({"faq": rules}))
    steps = book.explain("faq", _decide(book, team="a").inputs)
    assert [(step.rule.id, step.holds, step.in_time, step.error is not None) for step in steps] == [
        ("over", False, False, False),
        ("broken", False, True, True),
        ("no", False, True, False),
        ("yes", True, True, False),
        ("default", True, True, False),
    ]


@pytest.mark.parametrize("when", ['headers["x-tier"] == "São"', "req.body_bytes > 1 && local.hour > 30"])
def test_a_decision_has_its_json_for_the_ledger(when: str) -> None:
    book = Rulebook(ruled(when))
    for tier in ("São", "gold", "São"):
        found = _decide(book, x_tier=tier)
        assert found.ruled is not None
        read = msgspec.json.decode(found.ruled, type=Ruled)
        assert read == Ruled("faq", found.rule, found.release, found.region, json.loads(json.dumps(found.inputs)))
        assert book.replay(read.model, read.inputs) == found
        assert book.replay(read.model, read.inputs).ruled is None, "what is only tried is not written"


def test_models_do_not_know_of_each_other() -> None:
    book = Rulebook(
        config(
            {
                "faq": [{"id": "a", "when": "true", "release": "faq@2"}],
                "shop": [{"id": "b", "when": "true", "release": "shop@2"}],
            }
        )
    )
    for model in ("faq", "shop", "faq"):
        found = book.decide(model, request(), principal(), header(), EVE)
        assert found is not None
        assert found.release == f"{model}@2"


MOMENTS = st.sampled_from([EVE, EVE + 1, EVE + 60, EVE + 3600, EVE + 90_000, EVE - 86_400 * 24, EVE + 86_400 * 47])
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    "stream": st.booleans(), "max_tokens": st.sampled_from([1, 18, 60]), "user": st.text(max_size=60)
}  # fmt: skip
ASKED = st.fixed_dictionaries(
    {
        "now": MOMENTS,
        "region": st.sampled_from(["BR-SP", "US-CA", "", "nowhere"]),
        "team": st.sampled_from(["sales", "search", "7"]),
        "tier": st.sampled_from(["gold", "", "5"]),
        "fields": st.fixed_dictionaries({}, optional=FIELDS),
    }
)  # fmt: skip
TIMES = st.fixed_dictionaries(
    {}, optional={"from": st.just("2026-12-24T21:30:01Z"), "until": st.just("2026-12-25T22:00Z")}
)


def _one_by_one(book: Rulebook, asked: dict[str, Any]) -> tuple[str, list[str]]:
    """Rule after rule, with every value there is, as of a calendar that remembers nothing."""
    loaded = book.books["faq"]
    region = asked["region"] if asked["region"] in ("BR-SP", "US-CA") else "BR-SP"
    calendars = Calendars(CONFIG.regions, CONFIG.windows, CONFIG.seasons)
    made = request(**asked["fields"])
    known = conditions.sample(HEADERS) | {
        "req.stream": made.stream, "req.body_bytes": len(made.body),
        "req.max_tokens": asked["fields"].get("max_tokens", 0),
        "key.id": "k", "key.team": asked["team"], "key.scope": "serve", "headers.x-tier": asked["tier"],
        "headers.x-intent": "", "region": region, "now": datetime.fromtimestamp(asked["now"] // 60 * 60, UTC),
        **{f"local.{name}": value for name, value in calendars.at(region, asked["now"]).items()},
    }  # fmt: skip
    failed, context = [], conditions.context(known)
    for rule in loaded.rules:
        now = datetime.fromtimestamp(asked["now"], UTC)
        if (rule.from_ is not None and now < rule.from_) or (rule.until is not None and now >= rule.until):
            continue
        try:
            if rule.when is None or conditions.condition(rule.when, HEADERS).holds(context):
                return rule.id, failed
        except ERRORS:
            failed.append(rule.id)
    raise AssertionError("the default always holds")


CONFIG = config({"faq": []})


@given(st.lists(st.tuples(CONDITIONS, TIMES), min_size=1, max_size=6), st.lists(ASKED, min_size=1, max_size=6))
def test_what_is_remembered_is_what_the_rules_say_one_by_one(
    rules: list[tuple[str, dict[str, str]]], requests: list[dict[str, Any]]
) -> None:
    """Law 10: the same inputs give the same decision, in any order, remembered or not, and replayed."""
    made = [{"id": f"r{at}", "when": when, "release": "faq@2", **times} for at, (when, times) in enumerate(rules)]
    book = Rulebook(config({"faq": made}))
    for asked in [*requests, *reversed(requests)]:
        found = _decide(
            book, asked["now"], asked["team"], asked["fields"], x_region=asked["region"], x_tier=asked["tier"]
        )
        assert (found.rule, list(found.errors)) == _one_by_one(book, asked)
        assert book.replay("faq", json.loads(json.dumps(found.inputs))) == found
