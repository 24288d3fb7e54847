import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evals.client import UNREADABLE
from evals.schema import Answer, Sample, Score, ToolCall
from evals.scorers.base import NoServices
from evals.scorers.tools import ToolCalls

LISBON = ToolCall("weather", {"city": "Lisbon", "days": 3})
PORTO = ToolCall("weather", {"city": "Porto", "days": 3})
TIME = ToolCall("time", {})


async def score(expected: list[ToolCall] | None, made: list[ToolCall], **options: object) -> Score:
    sample = Sample(id="a", input="q", expected_calls=expected)
    return await ToolCalls.model_validate(options).score(sample, Answer(tool_calls=made), NoServices())


async def value(expected: list[ToolCall], made: list[ToolCall], **options: object) -> float:
    return (await score(expected, made, **options)).value


async def test_the_same_calls_in_any_order() -> None:
    assert await value([LISBON, TIME], [TIME, LISBON]) == 1.0
    assert await value([LISBON, TIME], [TIME, LISBON], order="exact") == 0.0
    assert await value([LISBON, TIME], [LISBON, TIME], order="exact") == 1.0


async def test_a_sample_without_expected_calls_is_an_error() -> None:
    with pytest.raises(ValueError, match="sample 'a' has no expected_calls"):
        await score(None, [LISBON])


@pytest.mark.parametrize("options", [{}, {"extra": True}, {"credit": "partial"}])
async def test_an_empty_list_means_that_no_call_may_be_made(options: dict[str, object]) -> None:
    assert await value([], [], **options) == 1.0
    assert await value([], [TIME], **options) == 0.0


async def test_missing_and_extra_calls_are_named() -> None:
    found = await score([LISBON], [PORTO])
    assert found == Score(0.0, 'missing: weather({"city":"Lisbon","days":3}); made: weather({"city":"Porto","days":3})')
    assert (await score([LISBON], [])).explanation == 'missing: weather({"city":"Lisbon","days":3})'


async def test_extra_calls_are_wrong_unless_allowed() -> None:
    assert await value([LISBON], [LISBON, TIME]) == 0.0
    assert await value([LISBON], [LISBON, LISBON]) == 0.0
    assert await value([LISBON], [TIME, LISBON], extra=True) == 1.0
    assert await value([LISBON, TIME], [TIME, PORTO, LISBON], extra=True, order="exact") == 0.0
    assert await value([LISBON, TIME], [LISBON, PORTO, TIME], extra=True, order="exact") == 1.0


@pytest.mark.parametrize(
    ("made", "options", "expected"),
    [
        ([LISBON], {}, 2 / 3),
        ([LISBON, TIME, PORTO], {}, 4 / 5),
        ([LISBON, TIME, PORTO], {"extra": True}, 1.0),
        ([LISBON, PORTO, PORTO], {"extra": True}, 1 / 2),
        ([TIME, LISBON], {"order": "exact"}, 1 / 2),
        ([], {}, 0.0),
    ],
)
async def test_partial_credit_is_f1_over_the_calls(made: list, options: dict[str, object], expected: float) -> None:
    assert await value([LISBON, TIME], made, credit="partial", **options) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        ({"city": "Lisbon", "days": 3.0}, {}, 1.0),
        ({"city": "lisbon", "days": 3}, {}, 0.0),
        ({"city": "Lisbon"}, {}, 0.0),
        ({"city": "Lisbon"}, {"ignore": ["days"]}, 1.0),
        ({"city": "Lisbon", "days": 3, "unit": "C"}, {}, 0.0),
        ({"city": "Lisbon", "days": 3, "unit": "C"}, {"arguments": "subset"}, 1.0),
        ({"city": "Lisbon", "unit": "C"}, {"arguments": "subset"}, 0.0),
        ({"town": 1}, {"arguments": "names"}, 1.0),
        ({"city": "Lisbon", "days": 4}, {"tolerance": 1}, 1.0),
        ({"city": "Lisbon", "days": 4.5}, {"tolerance": 1}, 0.0),
        ({"city": "Lisbon", "days": 3.3}, {"relative": 0.1}, 1.0),
        ({"city": "Lisbon", "days": "3"}, {"tolerance": 1}, 0.0),
        ({"city": "Lisbon", "days": 10**400}, {"tolerance": 1}, 0.0),
        ({"city": "Lisbon", "days": float("nan")}, {"tolerance": 1}, 0.0),
    ],
)
async def test_how_arguments_are_compared(arguments: dict, options: dict[str, object], expected: float) -> None:
    assert await value([LISBON], [ToolCall("weather", arguments)], **options) == expected


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        (True, 1, 0.0),
        (1, True, 0.0),
        (None, None, 1.0),
        ([1, [2.0]], [1.0, [2]], 1.0),
        ([1, 2], [2, 1], 0.0),
        ({"x": {"y": 1}}, {"x": {"y": 1, "z": 2}}, 0.0),
        ({"x": {"y": 1}}, {"x": 1}, 0.0),
    ],
)
async def test_values_are_compared_as_json(wanted: object, found: object, expected: float) -> None:
    assert await value([ToolCall("f", {"a": wanted})], [ToolCall("f", {"a": found})]) == expected


async def test_a_subset_goes_into_objects() -> None:
    made = [ToolCall("f", {"a": {"y": 1, "z": 2}, "b": 0})]
    assert await value([ToolCall("f", {"a": {"y": 1}})], made, arguments="subset") == 1.0


@pytest.mark.parametrize("arguments", ["exact", "subset", "names"])
async def test_unreadable_arguments_are_wrong_whatever_is_asked_for(arguments: str) -> None:
    found = await score([ToolCall("f", {})], [ToolCall("f", {UNREADABLE: "{oops"})], arguments=arguments)
    assert found.value == 0.0
    assert "f('{oops': arguments that are no JSON object)" in found.explanation


async def test_a_call_that_satisfies_two_is_given_to_the_one_that_needs_it() -> None:
    loose, tight = ToolCall("f", {}), ToolCall("f", {"a": 1})
    assert await value([loose, tight], [tight, ToolCall("f", {"a": 2})], arguments="subset") == 1.0


@pytest.mark.parametrize("options", [{"tolerance": -1}, {"order": "some"}, {"relative": float("inf")}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ToolCalls.model_validate(options)


CALLS = st.lists(
    st.builds(ToolCall, st.sampled_from("fg"), st.dictionaries(st.sampled_from("ab"), st.integers(0, 1))), max_size=4
)


def most(expected: list[ToolCall], made: list[ToolCall], ordered: bool) -> int:
    """The most pairs, by trying all."""

    def fits(wanted: ToolCall, call: ToolCall) -> bool:
        return wanted.name == call.name and wanted.arguments.items() <= call.arguments.items()

    for size in range(min(len(expected), len(made)), 0, -1):
        for left in itertools.combinations(expected, size):
            choose = itertools.combinations if ordered else itertools.permutations
            if any(all(map(fits, left, right)) for right in choose(made, size)):
                return size
    return 0


@pytest.mark.parametrize("order", ["any", "exact"])
@given(expected=CALLS.filter(bool), made=CALLS)
async def test_partial_credit_counts_the_most_pairs_possible(order: str, expected: list, made: list) -> None:
    found = await value(expected, made, arguments="subset", order=order, credit="partial")
    assert found == pytest.approx(2 * most(expected, made, order == "exact") / (len(expected) + len(made)))


@given(calls=CALLS)
async def test_the_expected_calls_themselves_are_right(calls: list[ToolCall]) -> None:
    assert await value(calls, calls, order="exact") == 1.0
    assert await value(calls, calls[::-1]) == 1.0
