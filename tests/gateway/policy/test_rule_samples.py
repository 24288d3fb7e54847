"""The requests that rules are tried with: what they compare with, and something else, always the same."""

import pytest

from gateway.policy.rule_samples import OTHER, exact, samples
from gateway.policy.rules import Rulebook
from gateway.settings.conditions import condition
from tests.gateway.ruled import ruled


def _tried(*conditions: str, most: int = 1000) -> dict[str, list[object]]:
    return samples("faq", Rulebook(ruled(*conditions)).books["faq"], most).tried


def test_members_are_tried_with_what_they_are_compared_with_and_with_something_else() -> None:
    of_key, of_request = (
        'key.team == "a" && headers["x-tier"] in ["gold", "silver"]',
        "req.max_tokens >= 100 || req.stream",
    )
    assert _tried(of_key, of_request) == {
        "headers.x-tier": ["", OTHER, "gold", "silver"],
        "key.team": [OTHER, "a"],
        "req.max_tokens": [0, 100, 101, 99],
        "req.stream": [False, True],
    }  # fmt: skip


def test_a_model_is_tried_under_its_own_name_too() -> None:
    assert _tried('req.model == "other"', 'key.scope == "evaluate"') == {
        "key.scope": ["serve", "evaluate"], "req.model": ["faq", "other"]
    }  # fmt: skip


def test_texts_that_are_read_as_numbers_are_tried_with_numbers() -> None:
    assert _tried('int(headers["x-tier"]) > 3')["headers.x-tier"] == ["", OTHER, "3", "4", "2"]


def test_all_combinations_while_they_are_few() -> None:
    book = Rulebook(ruled('key.team == "a" && headers["x-tier"] == "gold"')).books["faq"]
    found = samples("faq", book, 6)
    assert (len(found.requests), found.of, found.whole) == (6, 6, True)
    assert len({tuple(each.values()) for each in found.requests}) == 6


def test_of_many_combinations_each_rule_gets_its_own_first() -> None:
    conditions = [f'key.team == "t{at}" && headers["x-tier"] == "g{at}" && key.id == "k{at}"' for at in range(100)]
    book = Rulebook(ruled(*conditions)).books["faq"]
    found = samples("faq", book, 150)
    assert (len(found.requests), found.of, found.whole) == (150, 101 * 102 * 101, False)
    made = {(each["key.team"], each["headers.x-tier"], each["key.id"]) for each in found.requests}
    assert {(f"t{at}", f"g{at}", f"k{at}") for at in range(100)} <= made
    assert samples("faq", book, 150) == found


def test_rules_that_read_no_request_need_one() -> None:
    found = samples("faq", Rulebook(ruled("local.hour == 3")).books["faq"], 10)
    assert (found.requests, found.of) == ([{}], 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('key.team == "a" && headers["x-tier"] in ["gold", "silver"] && req.max_tokens > 5', True),
        ('local.hour > 24 || req.stream || "b" != key.id', True),
        ('key.team.matches("^a")', False),
        ('size(headers["x-tier"]) == 5', False),
        ('headers["x-tier"] == key.team', False),
        ("req.max_tokens % 7 == 3", False),
        ('req.endpoint != "/v1/chat/completions"', False),
        ('key.scope != "serve"', False),
        ("key.size() == 3", False),
    ],
)
def test_what_only_compares_is_tried_with_all_that_makes_a_difference(text: str, expected: bool) -> None:
    assert exact(condition(text, ("x-tier",))) is expected
