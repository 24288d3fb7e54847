"""Quotas, teams and classes: what they refuse, and names that refer to nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.settings.limits import CLASSES, STANDARD, ClassConfig, Quota, TeamConfig, limit_mistakes


def test_without_a_word_there_is_no_limit() -> None:
    assert Quota().limits_nothing
    assert TeamConfig(models=("faq",), weight=2).limits_nothing
    for name in ("rpm", "tpm", "concurrency"):
        assert not Quota.model_validate({name: 1}).limits_nothing


@pytest.mark.parametrize(
    "wrong",
    [
        {"rpm": 0},
        {"rpm": True},
        {"tpm": -1},
        {"concurrency": 1.5},
        {"rpm": 10**12 + 1},
        {"rps": 5},
        {"weight": 0},
        {"weight": -1},
        {"class": ""},
        {"models": "faq"},
    ],
)
def test_what_no_team_can_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TeamConfig.model_validate(wrong)


def test_a_team_is_written_with_the_word_class() -> None:
    team = TeamConfig.model_validate({"class": "batch"})
    assert team.priority_class == "batch"
    assert team.model_dump(by_alias=True, exclude_none=True) == {"class": "batch", "weight": 1.0}


def test_interactive_comes_before_standard_and_batch_after() -> None:
    ordered = sorted(CLASSES, key=lambda name: -CLASSES[name].level)
    assert ordered == ["interactive", STANDARD, "batch"]


def test_names_that_refer_to_nothing_are_told_with_their_place() -> None:
    teams = {
        "search": TeamConfig.model_validate({"class": "gold", "models": ["faq", "shp"]}),
        "sales": TeamConfig.model_validate({"class": "batch", "models": []}),
    }
    found = dict(limit_mistakes(CLASSES, teams, ["faq", "shop"]))
    assert found == {
        ("teams", "search", "class"): "no class 'gold'; the classes here are batch, interactive, standard",
        ("teams", "search", "models", 1): "no model 'shp'; the models here are faq, shop",
    }


def test_the_class_of_those_that_name_none_has_to_be_there() -> None:
    ((at, message),) = limit_mistakes({"gold": ClassConfig(level=1)}, {}, ["faq"])
    assert at == ("classes",)
    assert repr(STANDARD) in message


def test_two_bounds_of_one_level_are_a_mistake() -> None:
    classes = {STANDARD: ClassConfig(level=0), "vip": ClassConfig(level=0, max_queued=2)}
    ((at, message),) = limit_mistakes(classes, {}, ["faq"])
    assert at == ("classes", "vip", "max_queued")
    assert "'standard' has none, 'vip' has 2" in message
    alike = {STANDARD: ClassConfig(level=0, max_queued=2), "vip": ClassConfig(level=0, max_queued=2)}
    assert list(limit_mistakes(alike, {}, ["faq"])) == []
