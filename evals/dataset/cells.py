"""Samples as flat text: what stands in one cell of a CSV file, or in a text column of a Parquet file.

    id, cluster          the text itself
    input, reference     the text itself; a list (a conversation, several references) as JSON
    tags                 separated by `;`, or a JSON list
    the other fields     JSON

An empty cell says that the field is not set. A text that would be read as something else (one that looks like a list
of references, say, or an empty reference) is written as a JSON string; so every sample survives the way out and back.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from evals.dataset.samples import is_set
from evals.schema import Sample

_AS_JSON = frozenset({"follow_ups", "tools", "expected_calls", "relevant", "contexts"})


def values(cells: dict[str, str]) -> dict[str, Any]:
    """The fields of one sample, as JSON values. Raises ValueError, naming the field."""
    found = {name: value(name, cell) for name, cell in cells.items()}
    return {name: held for name, held in found.items() if held is not None}


def value(name: str, cell: str) -> Any:
    """What a cell of a field says; None when it says nothing. Raises ValueError."""
    if name in ("id", "input") and not cell:
        return ""
    if not cell:
        return None
    if name == "tags":
        return _tags(cell)
    if name in _AS_JSON:
        return _json(name, cell)
    accepts = _ACCEPTS.get(name)
    return _text(cell, accepts) if accepts else cell


def cells(sample: Sample) -> dict[str, str]:
    """A sample as one text for each field."""
    fields: dict[str, Any] = msgspec.to_builtins(sample)
    return {name: _cell(name, held) for name, held in fields.items()}


def _cell(name: str, held: Any) -> str:
    if not is_set(name, held):
        return ""
    if name == "tags":
        joined = ";".join(held)
        return joined if _tags(joined) == held else _dump(held)
    if isinstance(held, str):
        return held if value(name, held) == held else _dump(held)
    return _dump(held)


def _dump(held: Any) -> str:
    return msgspec.json.encode(held).decode()


def _tags(cell: str) -> list[str]:
    if cell.startswith("["):
        listed = _decode(cell)
        if _is_texts(listed):
            return list(listed)
    return [tag.strip() for tag in cell.split(";") if tag.strip()]


def _json(name: str, cell: str) -> Any:
    try:
        return msgspec.json.decode(cell)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"{name}: expected JSON, such as {_EXAMPLES[name]}; found {cell!r:.100} ({error})") from error


def _text(cell: str, accepts: Callable[[Any], bool]) -> Any:
    """The text of a cell, unless it is the JSON of what this field may hold, or of a text that had to be quoted."""
    if cell[:1] not in ("[", '"'):
        return cell or None
    held = _decode(cell)
    if isinstance(held, str):
        return held if _text(held, accepts) != held else cell
    return held if accepts(held) else cell


def _decode(cell: str) -> Any:
    try:
        return msgspec.json.decode(cell)
    except (msgspec.DecodeError, RecursionError):
        return None


def _is_texts(held: Any) -> bool:
    return isinstance(held, list) and all(isinstance(one, str) for one in held)


def _is_messages(held: Any) -> bool:
    return isinstance(held, list) and bool(held) and all(isinstance(one, dict) and "role" in one for one in held)


_ACCEPTS: dict[str, Callable[[Any], bool]] = {"input": _is_messages, "reference": _is_texts}
_EXAMPLES = {
    "follow_ups": '["And then?"]',
    "tools": '[{"type": "function", "function": {"name": "f"}}]',
    "expected_calls": '[{"name": "f", "arguments": {}}]',
    "relevant": '["doc-1"] or {"doc-1": 2}',
    "contexts": '["A passage."]',
}
