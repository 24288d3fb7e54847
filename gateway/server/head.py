"""The head of an answer: checked, so that nothing an application puts into a header can begin another message."""

import http
import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.contracts.errors import RequestError, envelope

Fields = Iterable[tuple[bytes, bytes]]

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


@lru_cache(maxsize=1024)
def _plain(name: bytes) -> bytes | None:
    """The beginning of a header's line; None for one that says how a message is framed."""
    if _TOKEN.fullmatch(name) is None:
        raise RuntimeError(f"expected a token as the name of a header, found {name!r}")
    return None if name.lower() in _FRAMING else name.lower() + b": "


def fields(headers: Fields) -> tuple[list[bytes], int | None, bool]:
    """(lines, content-length, whether to close after it). How a body is framed, and what follows, the server says.

    Raises RuntimeError for a name that is no token, and for a length that is no number or not the only one.
    """
    lines, length, close = list[bytes](), None, False
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
        lines.append(b"content-length: %b\r\n" % value)
    return lines, length, close


def head(status: int, lines: list[bytes]) -> bytes:
    """A status line and headers, as they are sent. Raises RuntimeError for a status or a value that HTTP has not."""
    block = b"".join(lines)
    if status not in _STATUS_LINES:
        raise RuntimeError(f"expected a status from 200 to 599, found {status!r}")
    if block.translate(None, _TEXT) != b"\r\n" * len(lines):
        raise RuntimeError("a header of the answer holds a line end or another control character")
    return b"%b%b\r\n" % (_STATUS_LINES[status], block)


def refusal(refused: Refused, default_headers: Fields) -> bytes:
    """The whole answer to a request that is refused. It is the connection's last."""
    body = envelope(refused.error)
    length = (b"content-length", str(len(body)).encode())
    lines, _, _ = fields((*default_headers, (b"content-type", b"application/json"), length))
    return head(refused.status, [*lines, b"connection: close\r\n"]) + body
