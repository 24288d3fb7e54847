"""The head of an answer: checked, so that nothing an application puts into a header can begin another message."""

import http
import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.contracts.envelopes import dialect_of, envelope
from gateway.contracts.errors import InvalidRequest, RequestError

Fields = Iterable[tuple[bytes, bytes]]

SHORT = 256
"""Bytes of what is remembered: nobody outside may fill the memory with it."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TEXT = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})


def _phrase(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, _phrase(status)) for status in range(200, 600)}


class Refused(Exception):
    """A request that is answered here, because it cannot be handed on. The status may be finer than its error's."""

    def __init__(self, error: RequestError, status: int | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = error.status if status is None else status


TOO_SLOW = Refused(InvalidRequest("expected the rest of the request, found none in time"), 408)


@lru_cache(maxsize=1024)
def _plain(name: bytes) -> bytes | None:
    """The beginning of a header's line; None for one that says how a message is framed."""
    if _TOKEN.fullmatch(name) is None:
        raise RuntimeError(f"expected a token as the name of a header, found {name!r}")
    return None if name.lower() in _FRAMING else name.lower() + b": "


def line(name: bytes, value: bytes) -> bytes:
    """One line of a head. Raises RuntimeError for what is no header, or says how a message is framed."""
    start = _plain(name)
    if start is None or value.translate(None, _TEXT):
        raise RuntimeError(f"expected a header that only speaks of its answer, found {name!r}")
    return b"%b%b\r\n" % (start, value)


_remembered = lru_cache(maxsize=1024)(line)


def common_line(name: bytes, value: bytes) -> bytes:
    """The same for values that come again and again: short ones are remembered."""
    return _remembered(name, value) if len(value) <= SHORT else line(name, value)


def fields(headers: Fields) -> tuple[list[bytes], int | None, bool]:
    """(lines, content-length, whether to close after it). How a body is framed, and what follows, the server says.

    Raises RuntimeError for what is no header, and for a length that is no number or not the only one.
    """
    lines: list[bytes] = []
    length, close = None, False
    for name, value in headers:
        if (start := _plain(name)) is not None:
            lines.append(start + value + b"\r\n")
            continue
        name = name.lower()
        if name == b"connection":
            close = close or b"close" in value.lower()
        if name != b"content-length":
            continue
        if length is not None or not value.isdigit():
            raise RuntimeError(f"expected one content-length in bytes, found {value!r}")
        length = int(value)
    if b"".join(lines).translate(None, _TEXT) != b"\r\n" * len(lines):
        raise RuntimeError("a header of the answer holds a line end or another control character")
    return lines, length, close


def status_line(status: int) -> bytes:
    """How an answer begins. Raises RuntimeError for a status that HTTP has not."""
    found = _STATUS_LINES.get(status)
    if found is None:
        raise RuntimeError(f"expected a status from 200 to 599, found {status!r}")
    return found


def refusal(refused: Refused, path: str, default_headers: Fields) -> bytes:
    """The whole answer to a request that is refused, in the dialect of its path. It is the connection's last."""
    body = envelope(refused.error, dialect_of(path))
    lines, _, _ = fields((*default_headers, (b"content-type", b"application/json")))
    end = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return b"".join([status_line(refused.status), *lines, end, body])
