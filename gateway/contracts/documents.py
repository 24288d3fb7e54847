"""Strict YAML: every file that a person writes is read here, and every mistake in it is named with its line.

Refused: unknown keys (by the models), duplicate keys, aliases (a small file can expand to gigabytes), tags, files over
`MAX_BYTES`. Numbers and dates stay what YAML's safe schema makes of them.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from gateway.contracts.errors import DocumentError, Mistake
from gateway.contracts.expectations import Location as Location
from gateway.contracts.expectations import explained
from gateway.contracts.texts import whole

MAX_BYTES = 4 * 1024 * 1024
MOST_MISTAKES = 50
"""That are told of a file of many lines: after these nobody reads on."""
MAX_DEPTH = 64
"""Of mappings and lists in each other. YAML's scanner looks at all that are open again at each word."""
MOST_LINKS = 40
"""From link to link to a file, as Linux follows them; one that leads back to itself is told when it is read."""
LATER = "(what the file refers to is looked at once these are mended)"


class Frozen(BaseModel):
    """Base of all configuration: immutable, unknown keys refused, no silent conversion of defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def http_url(value: str, example: str) -> SplitResult:
    """The parts of a URL to send requests to. Raises ValueError, without repeating credentials that it may carry."""
    try:
        parts = urlsplit(value)
        credentials, host, _ = parts.username or parts.password, parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"expected a URL such as {example}: {error}") from error
    if credentials or parts.query or parts.fragment:
        raise ValueError("a URL carries neither credentials nor a query here: its key stands under `api_key`")
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"expected a URL such as {example}, found {value!r}")
    return parts


def _no_number(value: Any) -> Any:
    """A number is taken for seconds since 1970, also in quotes, and 20270101 would be a day of that year."""
    if isinstance(value, (int, float)) or (isinstance(value, str) and not re.match(r"\d{4}-", value)):
        raise ValueError(f"expected a moment such as 2026-11-27T00:00-03:00, found {value!r}")
    return value


def _on_the_calendar(value: datetime) -> datetime:
    """In UTC too, in which it is compared and told."""
    try:
        value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"expected a moment between the years 1 and 9999 in UTC, found {str(value)!r}") from error
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), AfterValidator(_on_the_calendar)]
"""A moment with its offset from UTC."""


class Secret(Frozen):
    """Where a secret lies. The value itself never stands in a configuration."""

    env: Annotated[str, Field(pattern=r"^[^=\x00]+$")] | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one(self) -> "Secret":
        if (self.env is None) == (self.file is None):
            raise ValueError("expected exactly one of `env: NAME` and `file: PATH`")
        return self

    def read(self) -> str:
        """The secret's value. Raises DocumentError when it is not there."""
        if self.file is not None:
            value, name = read_text(self.file).strip(), str(self.file)
        else:
            value, name = os.environ.get(self.env or "", ""), f"${self.env}"
        if not value:
            raise DocumentError(name, [Mistake(1, "", "expected a secret here, found nothing")])
        return value


Model = TypeVar("Model", bound=BaseModel)
Check = Callable[[Model], Iterable[tuple[Location, str]]]


class _Reader:
    """Turns a YAML node tree into plain values and remembers the line of every key."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: dict[Location, int] = {(): 1}
        self.mistakes: list[Mistake] = []
        self._scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, at: Location) -> Any:
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*at, i)) for i, child in enumerate(node.value)]
        try:
            found = self._scalars.construct_object(node)
            return whole(found) if isinstance(found, str) else found
        except (yaml.YAMLError, ValueError) as error:
            self.mistakes.append(Mistake(node.start_mark.line + 1, _dotted(at), f"cannot read this value: {error}"))
            return None

    def _mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            try:
                key = whole(key)
            except ValueError as error:
                self.mistakes.append(Mistake(line, _dotted(at), f"cannot read this key: {error}"))
                continue
            if key in out:
                self.mistakes.append(Mistake(line, _dotted((*at, key)), f"duplicate key {key!r}: keep one of the two"))
                continue
            self.lines[(*at, key)] = line
            out[key] = self.value(value_node, (*at, key))
        return out

    def in_file(self, at: Location) -> Location:
        """A model's location without the parts that no file has: the branches of a union."""
        kept: Location = ()
        for part in at[:-1]:
            kept = (*kept, part) if (*kept, part) in self.lines else kept
        return (*kept, *at[-1:])

    def line_of(self, at: Location) -> int:
        """The line of the deepest known ancestor of a location."""
        while at not in self.lines:
            at = at[:-1]
        return self.lines[at]


def _dotted(at: Location) -> str:
    return ".".join(str(part) for part in at)


def parse(text: str, path: str) -> tuple[Any, dict[Location, int]]:
    """Plain values of a YAML text, and the line (from 1) of each location in it. Raises DocumentError."""
    values, lines, mistakes = _parse(text, path)
    if mistakes:
        raise DocumentError(path, mistakes)
    return values, lines


def _explodes(text: str) -> Mistake | None:
    """What a small text would need much time or memory for. Raises YAMLError for what is no YAML before that."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        line = token.start_mark.line + 1
        if isinstance(token, yaml.AliasToken):
            return Mistake(line, "", "YAML aliases (*name) are refused: write the value out")
        if isinstance(token, yaml.TagToken):  # the safe ones too: PyYAML fails in many ways at a text that is none
            return Mistake(line, "", "YAML tags (!name) are refused: write the value as it is, a text in quotes")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAX_DEPTH:
            return Mistake(line, "", f"nested more than {MAX_DEPTH} deep, which no person wrote")
    return None


_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def _parse(text: str, path: str) -> tuple[Any, dict[Location, int], list[Mistake]]:
    """The same, with the mistakes that leave values to look at (a duplicate key) beside them."""
    if len(text) > MAX_BYTES:
        too_long = f"the file has {len(text)} characters; at most {MAX_BYTES} are read"
        raise DocumentError(path, [Mistake(1, "", too_long)])
    reader = _Reader(path)
    try:
        if (bomb := _explodes(text)) is not None:
            raise DocumentError(path, [bomb])
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else 1
        raise DocumentError(path, [Mistake(line, "", f"not valid YAML: {error.problem}")]) from error
    except yaml.YAMLError as error:
        raise DocumentError(path, [Mistake(1, "", f"not valid YAML: {error}")]) from error
    values = reader.value(node, ()) if node is not None else {}
    return values, reader.lines, reader.mistakes


def folder_of(path: Path) -> Path:
    """The folder from which a file's relative paths start: that of the file itself, where links lead to it.

    Links of folders stay as they are written: Kubernetes mounts `gateway.yaml → ..data/gateway.yaml`, puts another
    folder behind `..data` at each change and removes the one before, and what is named must be found there all along.
    """
    path = path.absolute()
    for _ in range(MOST_LINKS):
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    folder = path.parent
    return folder.resolve() if ".." in folder.parts else folder


def refused(path: Path, mistakes: Sequence[Mistake]) -> DocumentError:
    """What is wrong in a file of many lines: the first of its mistakes, and how many more there are."""
    more = len(mistakes) - MOST_MISTAKES
    return DocumentError(str(path), mistakes[:MOST_MISTAKES], f"and {more} mistakes more" if more > 0 else "")


def read_text(path: Path) -> str:
    """A file's text, without the byte order mark that some editors put before it.

    A missing, unreadable or binary file is a DocumentError.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DocumentError(str(path), [Mistake(1, "", "no such file")]) from error
    except (OSError, ValueError) as error:  # no text, or a path that cannot be one
        raise DocumentError(str(path), [Mistake(1, "", f"cannot be read: {error}")]) from error


def load(path: Path, model: type[Model], *, check: Check[Model] | None = None) -> Model:
    """Read a YAML file into a model. Raises DocumentError with every mistake and its line.

    `check` looks at the whole model for what no single key can know (a name that refers to nothing).
    """
    values, lines, found = _parse(read_text(path), str(path))
    reader = _Reader(str(path))
    reader.lines = {(): 1, **lines}
    try:
        loaded = validate(values, lines, model, str(path))
    except DocumentError as error:
        mistakes = sorted([*found, *error.mistakes], key=lambda m: (m.line, m.key))
        raise DocumentError(str(path), mistakes, LATER if check else "") from error
    found += [Mistake(reader.line_of(at), _dotted(at), message) for at, message in (check(loaded) if check else ())]
    if found:
        raise DocumentError(str(path), sorted(found, key=lambda m: (m.line, m.key)))
    return loaded


def validate(values: Any, lines: dict[Location, int], model: type[Model], path: str) -> Model:
    """Validate plain values; each error of the model gets the line of the key that caused it."""
    if not isinstance(values, dict):
        found = type(values).__name__
        raise DocumentError(path, [Mistake(1, "", f"expected keys and values at the top level, found a {found}")])
    try:
        return model.model_validate(values)
    except ValidationError as error:
        reader = _Reader(path)
        reader.lines = {(): 1, **lines}
        details = [detail for detail in error.errors(include_url=False) if not _follows(detail, error)]
        mistakes = [_mistake(reader, detail, model) for detail in details]
        raise DocumentError(path, sorted(set(mistakes), key=lambda m: (m.line, m.key))) from error


def _follows(detail: Any, error: ValidationError) -> bool:
    """Whether a list counts as too short only because one of its items is wrong."""
    at = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(at) and other["loc"][: len(at)] == at for other in error.errors(include_url=False)
    )


def _mistake(reader: _Reader, detail: Any, model: type[BaseModel]) -> Mistake:
    at = reader.in_file(tuple(detail["loc"]))
    return Mistake(reader.line_of(at), _dotted(at), explained(detail, at, model))
