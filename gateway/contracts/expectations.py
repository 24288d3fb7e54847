"""What a model expected of a value, and what it found, in the words of people who write YAML."""

import difflib
from typing import Any

from pydantic import BaseModel

Location = tuple[str | int, ...]
"""Keys, and positions in lists, from the top of a file."""

_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
}
"""By pydantic's kinds of errors."""
_SAID = "Input should be "


def explained(detail: Any, at: Location, model: type[BaseModel]) -> str:
    """The message of one of a model's errors (`ValidationError.errors`), at a location of a file."""
    kind, found = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"unknown key {at[-1]!r}" + _suggestion(str(at[-1]), at, model)
    if kind == "missing":
        return f"missing key {at[-1]!r}: it is required here"
    if kind == "literal_error":
        return f"expected {detail['ctx']['expected']}, found {found!r}"
    if kind == "model_type":
        known = ", ".join(sorted(_fields_at(model, at)))
        return f"expected keys and values (known here are {known}), found {_kind(found)}"
    return _expected(kind, str(detail["msg"]), found)


def _expected(kind: str, message: str, found: Any) -> str:
    """Text is not repeated where no number or word was expected: it may be a secret."""
    if kind in _WANTED:
        told = repr(found) if isinstance(found, str) and kind.endswith("_parsing") else _kind(found)
        return f"expected {_WANTED[kind]}, found {told}"
    if kind == "too_short":
        return f"expected at least one here, found {_kind(found)}" if not found else message
    if message.startswith(_SAID) and isinstance(found, int | float):
        return f"expected what is {message.removeprefix(_SAID)}, found {found!r}"
    return message.removeprefix("Value error, ")


def _kind(found: Any) -> str:
    """What a value is."""
    if isinstance(found, bool | int | float):
        return repr(found)
    if found is None or found in ((), [], {}):
        return "nothing"
    kinds: dict[type, str] = {str: "text", list: "a list", dict: "keys and values"}
    return kinds.get(type(found), f"a {type(found).__name__}")


def _suggestion(key: str, at: Location, model: type[BaseModel]) -> str:
    """The known keys beside an unknown one, the nearest first."""
    known = _fields_at(model, at[:-1])
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f": did you mean {near[0]!r}?"
    return f": the keys known here are {', '.join(sorted(known))}" if known else ""


def _fields_at(model: type[BaseModel], at: Location) -> list[str]:
    current: Any = model
    for part in at:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = _inner(current.model_fields[str(part)].annotation)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [field.alias or name for name, field in current.model_fields.items()]
    return []


def _inner(annotation: Any) -> Any:
    """The model inside `dict[str, M]`, `tuple[M, ...]`, `M | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner(argument)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return annotation
