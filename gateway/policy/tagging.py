"""On whose behalf a request is made, beside its key and team: the region that it is from, and its tags."""

from collections.abc import Mapping
from functools import lru_cache

from gateway.contracts.errors import InvalidRequest
from gateway.policy.auth import Principal
from gateway.policy.calendar import Calendars
from gateway.policy.inputs import Header
from gateway.settings import tags


class Tagging:
    """Reads both. `calendars` are those of the rules, None where no regions are configured; `headers` has the request
    header of each tag that one may set."""

    __slots__ = ("_calendars", "_headers", "_names")

    def __init__(self, calendars: Calendars | None, headers: Mapping[str, str]) -> None:
        self._calendars = calendars
        self._names = tuple(headers)
        self._headers = tuple(name.encode() for name in headers.values())

    def of(self, principal: Principal, header: Header) -> tuple[str | None, str | None]:
        """(region, tags in JSON) of a request, each None where there is none.

        Raises InvalidRequest for a header that is no value of a tag: cost that went to nobody could not be divided
        later. One whose tag the key has is not looked at.
        """
        region, calendars = None, self._calendars
        if calendars is not None:
            region = calendars.default if calendars.header is None else calendars.region(header(calendars.header))
        if not self._names:
            return region, principal.tags
        told = tuple([header(name) for name in self._headers])
        return region, _joined(principal.tags, self._names, told) if any(told) else principal.tags


UNTAGGED = Tagging(None, {})
"""Where nothing is configured: what keys say."""


@lru_cache(maxsize=4096)
def _joined(own: str | None, names: tuple[str, ...], told: tuple[bytes | None, ...]) -> str | None:
    """The JSON of a key's tags and those of a request: there are few, and each is asked for many times."""
    found = tags.decode(own)
    for name, raw in zip(names, told, strict=True):
        if raw and name not in found:
            found[name] = _value(name, raw)
    return tags.encode(found)


def _value(name: str, raw: bytes) -> str:
    expected = f"the header of the tag {name!r}: expected 1 to {tags.LONGEST} printable characters"
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{expected} in UTF-8, found {raw[: tags.LONGEST]!r}") from error
    if not tags.is_value(text):
        raise InvalidRequest(f"{expected}, found {text[: 2 * tags.LONGEST]!r}")
    return text
