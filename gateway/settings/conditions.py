"""Conditions of rules: CEL over what is known of a request, its key, its headers, its region and local time.

    req.model  req.endpoint  req.stream  req.body_bytes  req.choices  req.max_tokens (0: not set)
    key.id  key.team  key.scope
    headers["x-tier"]         those that the configuration admits; "" where the request has none
    region                    its name
    local.date  …             local time of the region, as of the minute that has begun: see LOCAL
    now                       a timestamp: the minute that has begun

A mistake in a condition is found when it is read: CEL itself finds an unknown variable, member or function only when it
comes to evaluate it.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

from gateway.settings import tokens
from gateway.settings.tokens import Reference, Token

if TYPE_CHECKING:
    import cel
else:
    # The extension alone: its package also loads a command line, which takes half a second of every start. It stands
    # under its own name, since it can be loaded once in a process.
    cel = sys.modules.get("cel.cel")
    if cel is None:
        _found = PathFinder.find_spec("cel.cel", find_spec("cel").submodule_search_locations)
        cel = sys.modules["cel.cel"] = module_from_spec(_found)
        _found.loader.exec_module(cel)

Context = cel.Context
"""The variables of a condition, as CEL has them."""
MOST_CHARACTERS = 2000
"""Of a condition: the parser nests its calls as deeply as the text nests its operators."""

REQUEST: dict[str, Any] = {
    "model": "faq", "endpoint": "/v1/chat/completions", "stream": False, "body_bytes": 1, "choices": 1, "max_tokens": 0
}  # fmt: skip
KEY: dict[str, tuple[str, str]] = {"id": ("key_id", "0"), "team": ("team", "sales"), "scope": ("scope", "serve")}
"""A member, the attribute of `policy.auth.Principal` that it is, and a value of its type."""
LOCAL: dict[str, Any] = {
    "date": "2026-11-27", "year": 2026, "month": 11, "day": 27, "weekday": 5, "hour": 18, "minute": 30,
    "minute_of_day": 1110, "holidays": (), "is_holiday": False, "windows": (), "seasons": (),
}  # fmt: skip
"""`weekday` is 1 on Mondays and 7 on Sundays; the lists hold names."""
SCALARS: dict[str, Any] = {"region": "UTC", "now": datetime(2026, 11, 27, 18, 30, tzinfo=UTC)}

FUNCTIONS = frozenset(
    {
        *("contains", "startsWith", "endsWith", "matches", "size", "int", "uint", "double", "bytes", "string"),
        *("timestamp", "duration", "type", "dyn", "getFullYear", "getMonth", "getDate", "getDayOfMonth"),
        *("getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
ERRORS = (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError)
"""What the package raises: unknown functions and bad arguments, operators that do not fit their operands, patterns and
times that cannot be read, missing members, and arithmetic that has no result."""


@dataclass(frozen=True)
class Vocabulary:
    """The names that the conditions of a configuration may use."""

    headers: tuple[str, ...] = ()
    regions: Collection[str] = ()
    windows: Collection[str] = ()
    seasons: Collection[str] = ()

    @property
    def members(self) -> dict[str, Collection[str]]:
        """What each root holds."""
        return {"req": REQUEST, "key": KEY, "headers": self.headers, "local": LOCAL}


class Condition:
    """A condition, compiled. Raises ValueError for one that is no CEL at all; `mistakes` finds the rest.

    `reads` are the members that its value may depend on, `guards` those whose value must be one of some texts for it to
    be true, and `cuts` those that it compares with whole numbers and does nothing else with: between two of the numbers
    they may have any value.
    """

    def __init__(self, text: str, headers: tuple[str, ...]) -> None:
        self.text = text
        self.program = _compiled(text)
        self.words = tokens.tokens(text)
        self.references = list(tokens.references(self.words, ("req", "key", "headers", "local"), SCALARS))
        self._members = Vocabulary(headers).members
        self.reads: frozenset[str] = frozenset(name for _, names in self.named() for name in names)
        self.guards = [
            (_name(each), texts) for each, texts in tokens.guards(self.words, self.references) if each.member
        ]

    def named(self) -> list[tuple[Reference, list[str]]]:
        """What it reads, place by place, and the members that this is: all of them for a whole root."""
        return [(each, list(_names(each, self._members.get(each.root, ())))) for each in self.references]

    @property
    def cuts(self) -> dict[str, frozenset[int]]:
        """The numbers, by the members."""
        found: dict[str, list[int | None]] = {}
        for each, names in self.named():
            for name in names:
                found.setdefault(name, []).append(tokens.cut(self.words, each) if each.member else None)
        return {
            name: frozenset(cut for cut in cuts if cut is not None)
            for name, cuts in found.items()
            if None not in cuts and name not in SCALARS
        }

    def holds(self, context: Context) -> bool:
        """Its value. Raises one of ERRORS; TypeError for a value that is neither true nor false."""
        value: object = self.program.execute(context)
        if isinstance(value, bool):
            return value
        raise TypeError(f"expected true or false, found {value!r}")


@lru_cache(maxsize=16_384)
def condition(text: str, headers: tuple[str, ...]) -> Condition:
    """The same condition for the same text: it is read when it is checked, and again when it serves."""
    return Condition(text, headers)


def _compiled(text: str) -> cel.Program:
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"at most {MOST_CHARACTERS} characters make a condition, found {len(text)}: use several rules")
    try:
        return cel.compile(text)
    except ValueError as error:
        found = [line for line in str(error).splitlines() if "ERROR" in line]
        reason = found[0].partition("<input>:")[2] if found else str(error)
        raise ValueError(f"not a condition in CEL: {reason or error}") from error


def context(values: Mapping[str, Any]) -> Context:
    """The variables of a condition, from values by their dotted names (`key.team`, `region`)."""
    variables: dict[str, Any] = {}
    for name, value in values.items():
        root, dot, member = name.partition(".")
        if dot:
            variables.setdefault(root, {})[member] = value
        else:
            variables[root] = value
    return Context(variables)


def sample(headers: Collection[str]) -> dict[str, Any]:
    """A value of the right type for every member, by its dotted name."""
    values = {f"req.{name}": value for name, value in REQUEST.items()}
    values |= {f"key.{name}": value for name, (_, value) in KEY.items()}
    values |= {f"headers.{name}": "" for name in headers}
    values |= {f"local.{name}": value for name, value in LOCAL.items()}
    return values | SCALARS


def mistakes(condition: Condition, words: Vocabulary, sampled: Context) -> Iterator[str]:
    """What is wrong with a condition. `sampled` is the context of `sample`."""
    named = set(tokens.bound(condition.words))
    roots = {*words.members, *SCALARS}
    for name in sorted(named & roots):
        yield f"{name!r} is a variable already: give what a macro goes through another name"
    for name in sorted(set(condition.program.variables()) - named - roots):
        yield f"unknown variable {name!r}: those known are {', '.join(sorted(roots))}"
    for name in sorted(set(condition.program.functions()) - FUNCTIONS):
        if name[0].isalpha():
            yield f"unknown function {name!r}: those known are {', '.join(sorted(FUNCTIONS))}"
    found = [message for each in condition.references for message in _unknown(each, words)]
    yield from dict.fromkeys([*found, *_literals(condition.words, condition.references, words)])
    if not (named & roots or found):
        yield from _value(condition, sampled)


def _unknown(reference: Reference, words: Vocabulary) -> Iterator[str]:
    members = words.members.get(reference.root)
    if members is not None and reference.member is not None and reference.member not in members:
        if reference.root == "headers":
            known = ", ".join(sorted(members)) or "none"
            yield f"the header {reference.member!r} is not admitted: list it under `headers`, which has {known}"
        else:
            known = ", ".join(members)
            yield f"`{reference.root}` has no member {reference.member!r}: those known are {known}"
    elif reference.deeper is not None:
        yield f"`{_name(reference)}` has no members, found {reference.deeper!r}"


def _literals(found: list[Token], read: list[Reference], words: Vocabulary) -> Iterator[str]:
    """Names of windows, seasons and regions that there are not, and patterns that are none."""
    known = {"local.windows": words.windows, "local.seasons": words.seasons}
    for each in read:
        text = tokens.plain(found[each.start - 2]) if each.start > 1 and found[each.start - 1].text == "in" else None
        if text is not None and text not in known.get(_name(each), (text,)):
            kind = _name(each).partition(".")[2]
            yield f"no {kind[:-1]} {text!r}: those under `{kind}` are {', '.join(sorted(known[_name(each)])) or 'none'}"
        if each.root == "region" and tokens.word(found, each.end) in ("==", "!="):
            text = tokens.plain(found[each.end + 1])
            if text is not None and text not in words.regions:
                yield f"no region {text!r}: those here are {', '.join(sorted(words.regions))}"
    for at, token in enumerate(found):
        if token.text == "matches" and tokens.word(found, at + 1) == "(" and found[at + 2].kind == "string":
            try:
                cel.evaluate(f'"".matches({found[at + 2].text})')
            except RuntimeError as error:
                reason = " ".join(str(error).split()).rpartition("error: ")[2]
                yield f"{found[at + 2].text} is no regular expression: {reason}"


def _value(condition: Condition, sampled: Context) -> Iterator[str]:
    try:
        value = condition.program.execute(sampled)
    except ERRORS:
        return  # with other values it may do; `gateway check` tries them
    if not isinstance(value, bool):
        yield f"expected true or false, found a condition that gives {value!r}"


def _names(reference: Reference, members: Collection[str]) -> Iterator[str]:
    if reference.root in SCALARS or reference.member is not None:
        yield _name(reference)
    else:
        yield from (f"{reference.root}.{member}" for member in members)


def _name(reference: Reference) -> str:
    return reference.root if reference.root in SCALARS else f"{reference.root}.{reference.member}"
