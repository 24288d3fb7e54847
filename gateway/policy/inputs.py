"""What rules know of a request: each member that a condition may read, and how it is read."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from gateway.policy.auth import Principal
from gateway.policy.shapes import Request
from gateway.settings.conditions import KEY

HEADER_BYTES = 512
"""Of a header that a rule reads: what comes after them is not looked at."""
WIDE = frozenset({"req.body_bytes"})
"""Members that hardly ever have the same value twice: what was decided for one is not worth remembering."""

Header = Callable[[bytes], bytes | None]
"""The first value of a request header by its name in lower case; None where there is none."""
Values = Mapping[str, Any]
"""Values by their dotted names (`key.team`, `local.windows`, `region`)."""


REQUEST: dict[str, Callable[[Request], Hashable]] = {
    "model": attrgetter("model"),
    "endpoint": attrgetter("endpoint.path"),
    "stream": attrgetter("stream"),
    "body_bytes": lambda request: len(request.body),
    "choices": attrgetter("choices"),
    "max_tokens": lambda request: request.limit or 0,
}
"""How each member of `req` is read."""


class Reader:
    """Reads members of `req`, `key` and `headers`, all of them at once, since every request is read.

    `names` are their dotted names, in the order of what it finds.
    """

    def __init__(self, names: Iterable[str]) -> None:
        found: dict[str, list[str]] = {"headers": [], "key": [], "req": []}
        for name in sorted(names):
            root, _, member = name.partition(".")
            found[root].append(member)
        self.names = [f"{root}.{member}" for root, members in found.items() for member in members]
        self._headers = [member.encode() for member in found["headers"]]
        self._key = [KEY[member][0] for member in found["key"]]
        self._request = [REQUEST[member] for member in found["req"]]

    def read(self, request: Request, principal: Principal, header: Header) -> list[Hashable]:
        """What they are, the headers in bytes: `value` makes text of them."""
        found: list[Hashable] = []
        for wanted in self._headers:
            told = header(wanted)
            found.append(told[:HEADER_BYTES] if told else b"")
        for attribute in self._key:
            found.append(getattr(principal, attribute))
        for read in self._request:
            found.append(read(request))
        return found


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
