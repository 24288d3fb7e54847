"""Conditions: their mistakes are found when they are read, and what is told about them is true."""

import dataclasses
from typing import Any

import cel
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.policy.auth import Principal
from gateway.settings import conditions
from gateway.settings.conditions import ERRORS, FUNCTIONS, KEY, MOST_CHARACTERS, Condition, Vocabulary
from tests.gateway.ruled import CONDITIONS, HEADERS, STRINGS, TEXTS, values

WORDS = Vocabulary(HEADERS, ("BR-SP", "US-CA"), ("peak",), ("summer",))


def _mistakes(text: str) -> list[str]:
    sampled = conditions.context(conditions.sample(HEADERS))
    return list(conditions.mistakes(Condition(text, HEADERS), WORDS, sampled))


def _outcome(text: str, known: dict[str, Any]) -> bool | type[Exception]:
    try:
        return Condition(text, HEADERS).holds(conditions.context(known))
    except ERRORS as error:
        return type(error)


@pytest.mark.parametrize(
    "text",
    [
        'local.holidays.exists(h, h.startsWith("Carnival"))',
        'key.team == "sales" && headers["x-intent"] == "buy"',
        '"peak" in local.windows || "summer" in local.seasons',
        'region == "BR-SP" && region.startsWith("BR")',
        'now > timestamp("2026-11-27T00:00:00Z")',
        "req.max_tokens > 0 && req.stream && req.choices == 1 && req.body_bytes < 1000",
        'int(headers["x-tier"]) > 3',
        'headers["x-tier"].matches("^(gold|silver)$")',
        "local.weekday in [6, 7] && !local.is_holiday && local.minute_of_day >= 1080",
    ],
)
def test_conditions_without_a_mistake(text: str) -> None:
    assert _mistakes(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("local.hours == 3", "`local` has no member 'hours': those known are date, year, month"),
        ('req["tokens"] == 3', "`req` has no member 'tokens'"),
        ('headers["x-team"] == "a"', "the header 'x-team' is not admitted: list it under `headers`"),
        ('tenant == "a"', "unknown variable 'tenant': those known are headers, key, local, now, region, req"),
        ("region.name == 'a'", "`region` has no members, found 'name'"),
        ("req.model.name == 'a'", "`req.model` has no members, found 'name'"),
        ('key.team.lower() == "a"', "unknown function 'lower': those known are"),
        ('"rush" in local.windows', "no window 'rush': those under `windows` are peak"),
        ('"spring" in local.seasons', "no season 'spring': those under `seasons` are summer"),
        ('region == "BR-RJ"', "no region 'BR-RJ': those here are BR-SP, US-CA"),
        ('req.model.matches("(")', "\"(\" is no regular expression: unclosed group"),
        ("local.hour", "expected true or false, found a condition that gives 18"),
        ("local.holidays.exists(local, local == 'x')", "'local' is a variable already"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_condition(text: str, said: str) -> None:
    (found,) = _mistakes(text)
    assert said in found


@pytest.mark.parametrize("text", ["", "local.hour ==", "a b", "(" * 100 + "true" + ")" * 100])
def test_what_is_no_cel_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a condition in CEL"):
        Condition(text, HEADERS)


def test_a_condition_has_an_end() -> None:
    longest = "1" + " + 1" * ((MOST_CHARACTERS - 6) // 4) + " > 0"
    assert Condition(longest, ()).holds(conditions.context({}))
    with pytest.raises(ValueError, match=f"at most {MOST_CHARACTERS} characters"):
        Condition(longest + " " * MOST_CHARACTERS, ())


def test_a_value_that_is_neither_true_nor_false_is_an_error() -> None:
    with pytest.raises(TypeError, match="expected true or false, found 18"):
        Condition("local.hour", ()).holds(conditions.context({"local.hour": 18}))


@pytest.mark.parametrize(
    "text",
    [
        'nobody == "a"', 'local.nothing == 1', '1 / 0 == 1', '1 % 0 == 1', '"a" < 1', '[1][5] == 1', '!1',
        '9223372036854775807 + 1 > 0', 'int("x") == 1', 'timestamp("x") == now', '"a".matches("(")', 'f(1)',
        '1 ? true : false',
        'timestamp("9999-12-31T23:59:59Z") + duration("1000h") > now', '{"a": 1}["b"] == 1', "uint(-1) == 1u",
    ],
)  # fmt: skip
def test_whatever_cel_raises_is_one_of_its_errors(text: str) -> None:
    with pytest.raises(ERRORS):
        Condition(text, ()).holds(conditions.context(conditions.sample(())))


def test_every_function_that_is_known_is_there() -> None:
    calls = {
        "contains": '"a".contains("a")', "startsWith": '"a".startsWith("a")', "endsWith": '"a".endsWith("a")',
        "matches": '"a".matches("a")', "size": "size([1]) == 1", "int": 'int("1") == 1', "uint": "uint(1) == 1u",
        "double": 'double("1") == 1.0', "bytes": 'bytes("a") == b"a"', "string": 'string(1) == "1"',
        "timestamp": 'timestamp("2026-01-01T00:00:00Z") < now', "duration": 'duration("1h") > duration("1m")',
        "type": "type(1) == type(2)", "dyn": "dyn(true)",
        **{name: f"now.{name}() >= 0" for name in FUNCTIONS if name.startswith("get")},
    }  # fmt: skip
    assert calls.keys() == FUNCTIONS
    context = conditions.context(conditions.sample(()))
    assert {name: Condition(text, ()).holds(context) for name, text in calls.items()} == dict.fromkeys(calls, True)


def test_the_members_of_a_key_are_what_a_principal_has() -> None:
    assert {attribute for attribute, _ in KEY.values()} <= {field.name for field in dataclasses.fields(Principal)}


@given(CONDITIONS, values(), values())
def test_a_condition_depends_on_what_it_reads_alone(text: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    reads = Condition(text, HEADERS).reads
    assert _outcome(text, one) == _outcome(text, {name: (one if name in reads else other)[name] for name in one})


@given(CONDITIONS, st.sampled_from(STRINGS), st.sampled_from(TEXTS), st.booleans(), values())
def test_where_a_guard_does_not_hold_the_whole_is_false_and_no_error(
    text: str, member: str, wanted: str, first: bool, known: dict[str, Any]
) -> None:
    guard = f'{member} == "{wanted}"'
    text = f"{guard} && {text}" if first else f"{text} && {guard}"
    guards = Condition(text, HEADERS).guards
    assert guards
    if any(known[name] not in texts for name, texts in guards):
        assert _outcome(text, known) is False


@given(CONDITIONS, values(), st.data())
def test_between_two_numbers_a_member_may_have_any_value(text: str, known: dict[str, Any], data: st.DataObject) -> None:
    text = f"req.body_bytes > 7 && 18 >= local.hour || {text}"
    cuts = Condition(text, HEADERS).cuts
    assume(cuts)
    name = data.draw(st.sampled_from(sorted(cuts)))
    among = sorted(cuts[name])
    assume(known[name] not in among)
    low = max((cut for cut in among if cut < known[name]), default=-100)
    high = min((cut for cut in among if cut > known[name]), default=10_000)
    near = data.draw(st.integers(low + 1, high - 1))
    assert _outcome(text, known) == _outcome(text, {**known, name: near})


@given(CONDITIONS, values())
def test_a_condition_is_what_cel_says(text: str, known: dict[str, Any]) -> None:
    try:
        expected = cel.evaluate(text, conditions.context(known))
    except ERRORS as error:
        expected = type(error)
    assert _outcome(text, known) == expected
