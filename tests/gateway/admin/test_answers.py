"""What the admin API takes and tells, field by field."""

import inspect
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gateway.admin import answers
from gateway.admin.answers import KeyChange, NewKey, Strict

MODELS = [each for _, each in inspect.getmembers(answers, inspect.isclass) if issubclass(each, BaseModel)]


@pytest.mark.parametrize("model", [each for each in MODELS if each is not BaseModel], ids=lambda each: each.__name__)
def test_unknown_fields_are_refused_everywhere(model: type[BaseModel]) -> None:
    assert issubclass(model, Strict)
    with pytest.raises(ValidationError, match="extra_forbidden"):
        model.model_validate({"zebra": 1})


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""}, {"name": "a" * 129}, {"team": "a\nb"}, {"team": "\x7f"}, {"days": 0}, {"days": 1e9},
        {"days": float("inf")}, {"models": []}, {"models": ["m"] * 101}, {"tpm": 10**13}, {"tags": {"a": ""}},
        {"tags": {f"t{number}": "v" for number in range(17)}}, {"name": "\ud800"},
    ],
)  # fmt: skip
def test_what_a_key_has_is_bounded(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewKey.model_validate(given)


def test_what_is_not_named_is_not_changed_and_null_lifts() -> None:
    found = KeyChange.model_validate({"class": None, "rpm": 5})
    assert found.model_fields_set == {"priority_class", "rpm"}
