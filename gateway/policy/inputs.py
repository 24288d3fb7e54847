"""What rules know of a request: each member that a condition may read, and how it is read."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any

from gateway.policy.auth import Principal
from gateway.policy.shapes import Request
from gateway.settings.conditions import KEY

HEADER_BYTES = 512
"""Of a header that a rule reads: what comes after them is not looked at."""
WIDE = frozenset({"req.body_bytes"})
"""Members that hardly ever have the same value twice: what was decided for one is not worth remembering."""
_MOST = 2**53 - 1
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")

Header = Callable[[bytes], bytes | None]
"""The first value of a request header by its name in lower case; None where there is none."""
Read = Callable[[Request, Principal, Header], Hashable]
Values = Mapping[str, Any]
"""Values by their dotted names (`key.team`, `local.windows`, `region`)."""


def _number(request: Request, names: Sequence[str], default: int) -> int:
    """A whole number of the body; what is none is the engine's to refuse."""
    for name in names:
        told = _told(request, name)
        if told in (None, b"null"):
            continue
        try:
            return max(-_MOST, min(int(float(told.strip(b'"'))), _MOST))
        except (ValueError, OverflowError):
            return default
    return default


def _told(request: Request, name: str) -> bytes | None:
    if request.form is None:
        return bytes(request.fields[name]) if name in request.fields else None
    text = request.form.text(name)
    return None if text is None else text.encode()


REQUEST: dict[str, Read] = {
    "model": lambda request, _, __: request.model,
    "endpoint": lambda request, _, __: request.endpoint.path,
    "stream": lambda request, _, __: request.stream,
    "body_bytes": lambda request, _, __: len(request.body),
    "choices": lambda request, _, __: _number(request, ("n",), 1),
    "max_tokens": lambda request, _, __: _number(request, _LIMITS, 0),
}
"""How each member of `req` is read."""


def reader(name: str) -> Read:
    """How a member of `req`, `key` or `headers` is read, by its dotted name."""
    root, _, member = name.partition(".")
    if root == "req":
        return REQUEST[member]
    if root == "key":
        attribute = KEY[member][0]
        return lambda _, principal, __: getattr(principal, attribute)
    wanted = member.encode()
    return lambda _, __, header: (header(wanted) or b"")[:HEADER_BYTES]


def value(raw: Any) -> Any:
    """A value as a condition takes it: the bytes of a header are text."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw


def recorded(values: Values) -> dict[str, Any]:
    """The same as JSON has them."""
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in values.items()}


def read_back(name: str, told: Any) -> Any:
    """A value out of what `recorded` made of it, also when it went through JSON."""
    if name == "now":
        return datetime.fromisoformat(told)
    return tuple(told) if isinstance(told, list) else told
