"""`evals scorers`: what there is to score with, read off the scorers themselves."""

import difflib
import inspect
from typing import Any

import click
import msgspec
import yaml
from pydantic.fields import FieldInfo
from rich.markup import escape

from evals import scorers
from evals.cli import tables
from evals.cli.common import Command, console
from evals.scorers.base import Scorer
from gateway.contracts.errors import InputError

_REQUIRED = "required"


def option(name: str, field: FieldInfo) -> dict[str, Any]:
    """One option as JSON values: its name in a suite, its type, its default where it has one."""
    described = {"name": field.alias or name, "type": _type(field.annotation), "required": field.is_required()}
    if not field.is_required():
        described["default"] = msgspec.to_builtins(field.get_default(call_default_factory=True), enc_hook=str)
    return described


def describe(name: str, kind: type[Scorer]) -> dict[str, Any]:
    """A scorer as JSON values: name, summary, its documentation and that of its family, options, a suite's example."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return {
        "name": name,
        "summary": " ".join(text.split("\n\n")[0].split()),
        "documentation": text,
        "family": inspect.getdoc(inspect.getmodule(kind)) or "",
        "options": [option(field_name, field) for field_name, field in kind.model_fields.items()],
        "example": yaml.safe_dump(
            {"scorers": [{"name": name, **kind.example}]}, sort_keys=False, allow_unicode=True, width=100
        ),
    }


def _type(annotation: Any) -> str:
    """A type as people say it: `'any' | 'exact'`, `float | None`."""
    if annotation in (None, type(None)):
        return "None"
    inner = getattr(annotation, "__args__", None)
    if inner is None:
        return str(getattr(annotation, "__name__", annotation))
    if getattr(annotation, "__name__", "") == "Literal":
        return " | ".join(map(repr, inner))
    if getattr(annotation, "__origin__", None) is tuple:
        return f"list of {_type(inner[0])}"
    if getattr(annotation, "__origin__", None) in (list, dict):
        return "list" if annotation.__origin__ is list else "mapping"
    return " | ".join(map(_type, inner))


@click.command("scorers", cls=Command)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_scorers(name: str | None, as_json: bool) -> None:
    """List the scorers that a suite can name; with a NAME, that one with its options and an example.

    \b
    Examples:
      evals scorers
      evals scorers tool_calls
    """
    table = scorers.known()
    if name is not None and name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown scorer {name!r}: {hint}The known ones are {', '.join(sorted(table))}")
    found = [describe(each, table[each]) for each in sorted(table) if name in (None, each)]
    if as_json:
        click.echo(msgspec.json.encode(found if name is None else found[0]))
    elif name is None:
        _print_all(found)
    else:
        _print_one(found[0])


def _print_all(found: list[dict[str, Any]]) -> None:
    made = tables.table("scorer", "what it says", "options")
    for each in found:
        names = ", ".join(one["name"] + ("*" if one["required"] else "") for one in each["options"])
        made.add_row(escape(each["name"]), escape(each["summary"]), escape(names))
    screen = console()
    screen.print(made)
    screen.print("* has no default. `evals scorers NAME` explains one.", markup=False)


def _print_one(found: dict[str, Any]) -> None:
    click.echo(f"{found['name']}: {found['documentation']}\n")
    for each in found["options"]:
        default = _REQUIRED if each["required"] else f"default {msgspec.json.encode(each['default']).decode()}"
        click.echo(f"  {each['name']}: {each['type']}, {default}")
    click.echo(f"\nIn a suite:\n\n{found['example']}\n{found['family']}")
