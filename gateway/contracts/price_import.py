"""Prices out of LiteLLM's price map, without a network and without LiteLLM: the map is a file inside its package.

It maps a model to amounts for one token, as JSON numbers. They are read by their decimal text, so that a million of
them is exact, and whatever the map charges beside tokens is told instead of dropped.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import yaml
from pydantic import ValidationError

from gateway.contracts import documents
from gateway.contracts.errors import InputError
from gateway.contracts.prices import Price, PriceBook

BUNDLED = "model_prices_and_context_window_backup.json"
"""Of LiteLLM's package."""
MODES = frozenset({"chat", "completion", "responses", "embedding", "rerank"})
"""What is paid for by the token of a text."""
MILLION = 6
MOST_PLACES = 40
"""Behind the point, or zeros in front of it: more is no amount."""
NAMES = {
    "input": "input_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "output": "output_cost_per_token",
    "reasoning": "output_cost_per_reasoning_token",
}
"""A price's amounts, and what the map calls them."""
_VARIANTS = ("_batches", "_flex", "_priority")
"""Endings of amounts for ways to order that no request through a gateway takes."""


class Imported(msgspec.Struct, frozen=True):
    """A model's price, and what the map says beside it that no price file can."""

    price: Price
    notes: Sequence[str] = ()


def bundled(package: str = "litellm") -> Path:
    """LiteLLM's own map. Raises InputError when LiteLLM is not installed. It is found, and not imported."""
    spec = find_spec(package)
    for folder in () if spec is None else spec.submodule_search_locations or ():
        if (path := Path(folder) / BUNDLED).exists():
            return path
    raise InputError(
        f"no price map: LiteLLM is not installed here, or has no {BUNDLED!r}; install the extra `providers` "
        "(pip install 'tollgate[providers]'), or name such a file with --from FILE"
    )


def read_map(path: Path) -> dict[str, Any]:
    """A map's entries, with exact amounts. Raises InputError."""
    try:
        found = json.loads(documents.read_text(path), parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise InputError(f"{path}: expected a price map as LiteLLM's, in JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected an object of models, found a {type(found).__name__}")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def entry(models: Mapping[str, Any], model: str) -> Imported:
    """The price of a model by its name in the map. Raises InputError, with the reason, for one that has none."""
    told = models.get(model)
    if not isinstance(told, dict):
        near = sorted(name for name in models if model in name or name in model)[:5]
        hint = f": is it one of {', '.join(map(repr, near))}?" if near else ""
        raise InputError(f"the price map has no model {model!r}{hint}")
    charged = {name: value for name, value in told.items() if "cost" in name and _is_charge(value)}
    mode = told.get("mode", "chat")
    if mode not in MODES:
        raise _refused(model, f"its mode is {mode!r}, which is not paid for by the tokens of a text", charged)
    values = {name: told[called] for name, called in NAMES.items() if told.get(called) is not None}
    missing = [NAMES[name] for name in ("input", "output") if name not in values]
    if missing:
        raise _refused(model, f"it has no {' and no '.join(missing)}", charged)
    if not any(values.values()):
        raise _refused(model, "all of its tokens cost 0; write such a price by hand if it is meant", charged)
    try:
        price = Price.model_validate({name: _per_million(value) for name, value in values.items()})
    except ValidationError as error:
        told = "; ".join(f"{NAMES[str(each['loc'][0])]}: {each['msg']}" for each in error.errors(include_url=False))
        raise InputError(f"the price map's amounts for {model!r} cannot be used: {told}") from error
    except ValueError as error:
        raise InputError(f"the price map's amounts for {model!r} cannot be used: {error}") from error
    beside = {name for name in charged if name not in NAMES.values() and not name.endswith(_VARIANTS)}
    notes = [f"not imported: {name} {charged[name]}" for name in sorted(beside)]
    if isinstance(ends := told.get("deprecation_date"), str):
        notes.append(f"the provider ends it on {ends}")
    return Imported(price, notes)


def _is_charge(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and value != 0


def _per_million(value: object) -> str:
    """An amount for one token as one for a million: the point moves, and no digit changes."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"expected a number, found {value!r}")
    sign, digits, exponent = Decimal(value).as_tuple()
    if not isinstance(exponent, int) or abs(exponent) > MOST_PLACES:
        raise ValueError(f"expected a number, found {value!r}")
    moved = format(Decimal((sign, digits, exponent + MILLION)), "f")
    return (moved.rstrip("0").rstrip(".") if "." in moved else moved) or "0"


def _refused(model: str, reason: str, charged: Mapping[str, Any]) -> InputError:
    told = f"; it charges {', '.join(sorted(charged))}" if charged else ""
    return InputError(f"the price map has no price by the token for {model!r}: {reason}{told}")


def written(found: Mapping[str, Imported], version: str, source: str) -> str:
    """A new price file."""
    head = f"# Imported from {source}. Amounts per million tokens.\nversion: {_quoted(version)}\ncurrency: USD\n"
    return head + "models:\n" + "".join(_lines(found, 2))


def merged(text: str, path: str, found: Mapping[str, Imported], version: str) -> str:
    """The text of a price file with models added behind its last one, and another version; the rest as it was.

    Raises InputError for a model that it has already, and for a file whose `models` are not written one below another.
    """
    before = documents.validate(*documents.parse(text, path), PriceBook, path)
    if already := sorted(set(found) & set(before.models)):
        raise InputError(f"{path} has {', '.join(map(repr, already))} already: change the price there by hand")
    if before.currency != "USD":
        raise InputError(f"{path} is in {before.currency}, and the map's amounts are in USD: name another file")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    nodes = {key.value: value for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    models, told = nodes["models"], nodes["version"]
    if not isinstance(models, yaml.MappingNode) or models.flow_style or not models.value:
        raise InputError(f"{path}: expected `models` with one model below another: name a new file with --out")
    lines = text.splitlines(keepends=True)
    end = _end(models).line + 1
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    added = _lines(found, models.value[0][0].start_mark.column)
    line, start, stop = told.start_mark.line, told.start_mark.column, told.end_mark.column
    lines[line] = lines[line][:start] + _quoted(version) + lines[line][stop:]
    result = "".join([*lines[:end], *added, *lines[end:]])
    after = documents.validate(*documents.parse(result, path), PriceBook, path)
    expected = {**before.models, **{name: each.price for name, each in found.items()}}
    if (after.models, after.version) != (expected, version):
        raise InputError(f"{path}: models cannot be added to it as it is written: name a new file with --out")
    return result


def _end(node: yaml.Node) -> yaml.Mark:
    """Where the last value of a node ends: the mark of a block itself is behind the comments that follow it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return node.end_mark


def _lines(found: Mapping[str, Imported], indent: int) -> list[str]:
    lines = []
    for name, each in found.items():
        amounts = each.price.model_dump(exclude_none=True)
        ordered = ", ".join(f'{key}: "{amounts[key]:f}"' for key in NAMES if key in amounts)
        told = name if name.isprintable() else _quoted(name)  # a comment ends with its line
        lines += [" " * indent + f"# {told}: {note}\n" for note in each.notes]
        lines.append(" " * indent + f"{_quoted(name)}: {{{ordered}}}\n")
    return lines


def _quoted(text: str) -> str:
    """A text in YAML, as it is where it can be printed."""
    return json.dumps(text, ensure_ascii=not text.isprintable())
