"""What was expected and what was found, for every mistake of a kind that people make."""

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from gateway.contracts import documents
from gateway.contracts.expectations import explained


class Inner(documents.Frozen):
    """A nested model."""

    name: str


class Outer(documents.Frozen):
    """One of each kind."""

    whole: int = 1
    number: Annotated[float, Field(lt=1)] = 0.5
    switch: bool = True
    text: str = ""
    items: tuple[Inner, ...] = ()
    some: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    table: dict[str, int] = Field(default_factory=dict)
    inner: Inner | None = None


def _said(**values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    detail = caught.value.errors(include_url=False)[0]
    return explained(detail, tuple(detail["loc"]), Outer)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"whole": "many"}, "expected a whole number, found 'many'"),
        ({"whole": 1.5}, "expected a whole number, found 1.5"),
        ({"whole": None}, "expected a whole number, found nothing"),
        ({"number": "x"}, "expected a number, found 'x'"),
        ({"number": 3}, "expected what is less than 1, found 3"),
        ({"switch": "perhaps"}, "expected true or false, found 'perhaps'"),
        ({"text": 3}, "expected text, found 3"),
        ({"text": {"a": 1}}, "expected text, found keys and values"),
        ({"items": "exact"}, "expected a list, found text"),
        ({"items": ["exact"]}, "expected keys and values (known here are name), found text"),
        ({"some": []}, "expected at least one here, found nothing"),
        ({"table": [1]}, "expected keys and values, found a list"),
        ({"wholes": 1}, "unknown key 'wholes': did you mean 'whole'?"),
        ({"inner": {}}, "missing key 'name': it is required here"),
    ],
)
def test_both_sides_are_told(values: dict[str, object], said: str) -> None:
    assert _said(**values) == said


def test_text_where_keys_and_values_belong_is_not_repeated() -> None:
    assert "sk-secret" not in _said(inner="sk-secret")
    assert "sk-secret" not in _said(table="sk-secret")
