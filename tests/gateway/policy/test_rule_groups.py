"""Groups of rules that read the same: what they remember, whom they ask, and that it is never another answer."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.rule_groups import ENDLESS, Group, Member, Memory, Spans, grouped
from gateway.settings import conditions
from gateway.settings.conditions import ERRORS, Condition
from gateway.settings.rules import RuleConfig
from tests.gateway.ruled import CONDITIONS, HEADERS, values


def _members(*texts: str) -> list[Member]:
    return [Member(at, Condition(text, HEADERS), 0, ENDLESS) for at, text in enumerate(texts)]


def _group(*texts: str) -> Group:
    (group,) = grouped(_members(*texts))
    group.remember(100)
    return group


@given(st.integers(2, 9), st.lists(st.integers(0, 12), max_size=80))
def test_the_half_that_was_asked_for_last_is_remembered_and_no_more_than_all(most: int, asked: list[int]) -> None:
    memory, latest = Memory[str](most), list[int]()
    for key in asked:
        found = memory.recall(key)
        assert found in (None, str(key))
        assert found is not None or key not in latest[-(most // 2) :]
        if found is None:
            memory.keep(key, str(key))
        latest = [each for each in latest if each != key] + [key]
        assert len(memory) <= most


def test_rules_that_read_the_same_are_one_group() -> None:
    groups = grouped(
        _members("local.hour == 1", "local.hour > 5", "local.day == 1", 'key.team == "a"', 'key.team != "a"')
    )
    assert sorted((group.reads, group.by, len(group.members)) for group in groups if group.by is None) == [
        (("key.team",), None, 1), (("local.day",), None, 1), (("local.hour",), None, 2)
    ]  # fmt: skip
    assert [(group.reads, group.by) for group in groups if group.by] == [(("key.team",), "key.team")]


def test_only_those_that_ask_for_the_text_that_is_there_are_asked() -> None:
    group = _group(
        *(f'key.team == "t{at}" && local.hour > {at}' for at in range(1000)),
        'key.team in ["t1", "t2"] && local.hour > 5',
    )
    asked = {team: [member.place for member in group.asked({"key.team": team})] for team in ("t1", "t7", "none")}
    assert asked == {"t1": [1, 1000], "t7": [7], "none": []}


def test_the_guard_that_tells_most_rules_apart_is_taken() -> None:
    group = _group(*(f'req.model == "faq" && key.team == "t{at}"' for at in range(10)))
    assert group.by == "key.team"


def test_sizes_are_remembered_by_where_they_lie() -> None:
    group = _group("req.body_bytes > 1000", "req.body_bytes == 50")
    for size in range(0, 3000, 7):
        assert group.first({"req.body_bytes": size}, 0)[0] == (0 if size > 1000 else None)
    assert group.first({"req.body_bytes": 50}, 0)[0] == 1
    assert group.memory is not None
    assert len(group.memory) == 4  # below 50, 50, up to 1000, above


def test_sizes_that_are_counted_with_are_not_remembered() -> None:
    assert _group("req.body_bytes % 7 == 1").memory is None


def test_a_rule_that_fails_is_told_with_those_before_the_first_that_holds() -> None:
    group = _group("int(key.team) > 1", 'key.team != "b"', "int(key.team) > 2")
    assert group.first({"key.team": "a"}, 0) == (1, (0,))
    assert group.first({"key.team": "b"}, 0) == (None, (0, 2))
    assert group.first({"key.team": "5"}, 0) == (0, ())


def test_spans_number_the_times_between_from_and_until() -> None:
    def moment(day: int) -> datetime:
        return datetime(2026, 11, day, tzinfo=UTC)

    rules = [
        RuleConfig.model_validate({"id": "a", "from": moment(10), "until": moment(20)}),
        RuleConfig.model_validate({"id": "b", "from": moment(20)}),
        RuleConfig.model_validate({"id": "c", "until": moment(5)}),
        RuleConfig.model_validate({"id": "d", "when": "true"}),
    ]
    spans = Spans(rules)
    assert spans.bounds == [moment(day).timestamp() for day in (5, 10, 20)]
    assert [spans.of(rule) for rule in rules] == [(2, 3), (3, ENDLESS), (0, 1), (0, ENDLESS)]


def _first(members: list[Member], known: dict[str, Any], span: int) -> tuple[int | None, list[int]]:
    """Rule by rule, with everything there is."""
    failed, context = [], conditions.context(known)
    for member in members:
        try:
            if member.holds(context, span):
                return member.place, failed
        except ERRORS:
            failed.append(member.place)
    return None, failed


@given(st.lists(CONDITIONS, min_size=1, max_size=8), st.lists(values(), min_size=1, max_size=4), st.data())
def test_groups_say_what_the_rules_say_one_by_one(
    texts: list[str], known: list[dict[str, Any]], data: st.DataObject
) -> None:
    bounds = st.tuples(st.integers(0, 2), st.sampled_from([1, 2, 3, ENDLESS]))
    members = [Member(at, Condition(text, HEADERS), *data.draw(bounds)) for at, text in enumerate(texts)]
    groups = grouped(members)
    for group in groups:
        group.remember(2)
    for each in [*known, *known]:
        for span in (0, 1, 2):
            place, failed = _first(members, each, span)
            found = [group.first(each, span) for group in groups]
            first = min((at for at, _ in found if at is not None), default=None)
            assert first == place
            before = [at for _, errors in found for at in errors if place is None or at < place]
            assert sorted(before) == failed
