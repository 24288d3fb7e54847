"""What rules know of a request: each member that a condition may read, and how it is read."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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
Getter = Callable[[Any], Hashable]
Read = Callable[[int, Request, Principal, Header], tuple[Hashable, ...]]
Values = Mapping[str, Any]
"""Values by their dotted names (`key.team`, `local.windows`, `region`)."""


REQUEST: dict[str, tuple[str, Callable[[Any], Any] | None]] = {
    "model": ("model", None),
    "endpoint": ("endpoint.path", None),
    "stream": ("stream", None),
    "body_bytes": ("body", len),
    "choices": ("choices", None),
    "max_tokens": ("limit", lambda limit: limit or 0),
}
"""What each member of `req` is: an attribute of a request, or what is made of it."""


class Reader:
    """Reads members of `req`, `key` and `headers`, all of them at once, since every request is read.

    `names` are their dotted names, in the order of `values`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        found: dict[str, list[str]] = {"key": [], "req": [], "headers": []}
        for name in sorted(names):
            root, _, member = name.partition(".")
            found[root].append(member)
        self.names = [f"{root}.{member}" for root, members in found.items() for member in members]
        headers = [member.encode() for member in found["headers"]]
        read = [REQUEST[member] for member in found["req"]]
        self._counts = len(found["key"]), len(read)
        self._made = [*(None for _ in found["key"]), *(made for _, made in read), *(_text for _ in headers)]
        of_key = _getter([KEY[member][0] for member in found["key"]])
        self.read = _reader(of_key, _getter([attribute for attribute, _ in read]), headers)
        """All that they are made of, after the number of a moment: what is equal here has equal `values`."""

    def values(self, read: Sequence[Any]) -> list[Any]:
        """What they are, as a condition takes them."""
        (keys, requests), (_, of_key, of_request, *headers) = self._counts, read
        flat = (*_several(of_key, keys), *_several(of_request, requests), *headers)
        return [each if made is None else made(each) for made, each in zip(self._made, flat, strict=True)]


def recorded(values: Values) -> dict[str, Any]:
    """The same as JSON has them."""
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in values.items()}


def read_back(name: str, told: Any) -> Any:
    """A value out of what `recorded` made of it, also when it went through JSON."""
    if name == "now":
        return datetime.fromisoformat(told)
    return tuple(told) if isinstance(told, list) else told


def _reader(of_key: Getter | None, of_request: Getter | None, headers: Sequence[bytes]) -> Read:
    """What reads them: as most rules have it that read any header, of one, and without a list in between."""

    def several(moment: int, request: Request, principal: Principal, header: Header) -> tuple[Hashable, ...]:
        keys, requests = of_key and of_key(principal), of_request and of_request(request)
        return moment, keys, requests, *[(header(name) or b"")[:HEADER_BYTES] for name in headers]

    def one(moment: int, request: Request, principal: Principal, header: Header) -> tuple[Hashable, ...]:
        keys, told = of_key and of_key(principal), header(wanted)
        return moment, keys, of_request and of_request(request), told[:HEADER_BYTES] if told else b""

    wanted, *others = headers or (b"",)
    return one if headers and not others else several


def _getter(attributes: Sequence[str]) -> Getter | None:
    """What reads so many attributes in one call: one as it is, several in a tuple, and None for none."""
    return attrgetter(*attributes) if attributes else None


def _several(read: Any, count: int) -> tuple[Any, ...]:
    return () if not count else (read,) if count == 1 else read


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
