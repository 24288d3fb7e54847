"""Forms as `multipart/form-data` (RFC 7578): read strictly, rewritten part by part.

The engine's parser is another one than this. What two readers could read in two ways is refused, so that the model
that is checked here is the model that answers; no byte of a part that is not rewritten changes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.contracts.errors import InvalidRequest

MAX_PARTS = 128
MAX_HEAD_BYTES = 4096
MAX_TEXT_BYTES = 4096
"""Of a field that the gateway reads; other values are as large as the body may be."""

_TYPE = re.compile(rb"""multipart/form-data\s*;\s*boundary=(?:"([^"]+)"|([^\s;"]+))\s*""", re.IGNORECASE)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:[^\r\n]*")
_DISPOSITION = re.compile(
    rb"""form-data;\s*name=(?:"([^"\\]*)"|([\w.\[\]-]+))((?:\s*;\s*filename\*?=(?:"(?:[^"\\]|\\.)*"|[^\s;"]+))*)""",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One field: where its value lies in the body, and whether it is a file."""

    start: int
    end: int
    file: bool


@dataclass(frozen=True, slots=True)
class Form:
    """A form's body and where its fields lie in it. A name may come several times."""

    body: bytes
    boundary: bytes
    parts: Mapping[str, list[Part]]

    @property
    def content_type(self) -> bytes:
        """The header for the body, written in the one way that every reader reads alike."""
        return b'multipart/form-data; boundary="' + self.boundary + b'"'

    def text(self, name: str) -> str | None:
        """The one value of a field; None when it is not there, or empty. Raises InvalidRequest."""
        found = self.parts.get(name, [])
        if not found:
            return None
        if len(found) > 1:
            raise InvalidRequest(f"the field {name!r} comes {len(found)} times: send it once", param=name)
        part = found[0]
        if part.file or part.end - part.start > MAX_TEXT_BYTES:
            raise InvalidRequest(f"the field {name!r} should be a short text, not a file", param=name)
        try:
            return self.body[part.start : part.end].decode() or None
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"the field {name!r} should be text in UTF-8", param=name) from error

    def rewritten(self, changes: Mapping[str, str]) -> bytes:
        """The body with these values: in their own places, or in front for a field that was not there."""
        pieces = [
            b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
            % (self.boundary, name.encode(), value.encode())
            for name, value in changes.items()
            if name not in self.parts
        ]
        at = 0
        for name in sorted(changes.keys() & self.parts.keys(), key=lambda name: self.parts[name][0].start):
            part = self.parts[name][0]
            pieces += [self.body[at : part.start], changes[name].encode()]
            at = part.end
        return b"".join([*pieces, self.body[at:]])


def parse(body: bytes, content_type: bytes | None) -> Form:
    """Find the parts of a form. Raises InvalidRequest, without repeating what the client wrote."""
    boundary = _boundary(content_type)
    delimiter = b"\r\n--" + boundary
    if not body.startswith(delimiter[2:]):
        raise _malformed("it should begin with the boundary of its content type")
    parts: dict[str, list[Part]] = {}
    count, at = 0, len(delimiter) - 2
    while body[at : at + 2] == b"\r\n":
        count += 1
        if count > MAX_PARTS:
            raise _malformed(f"it should have at most {MAX_PARTS} parts")
        head = body.find(b"\r\n\r\n", at, at + MAX_HEAD_BYTES)
        # From the line's end before the empty line: a boundary that stands there ends a part without a value.
        end = body.find(delimiter, head + 2)
        if head < 0 or end < head + 4:
            raise _malformed("every part should have a head, an empty line and a value, and end with the boundary")
        name, file = _named(body[at + 2 : head])
        parts.setdefault(name, []).append(Part(head + 4, end, file))
        at = end + len(delimiter)
    if body[at : at + 2] != b"--" or body[at + 2 : at + 4].strip() or len(body) > at + 4:
        raise _malformed("a boundary should be followed by a line's end, and the last one by `--` and nothing else")
    return Form(body, boundary, parts)


def _boundary(content_type: bytes | None) -> bytes:
    match = _TYPE.fullmatch(content_type or b"")
    boundary = b"" if match is None else match[1] or match[2]
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequest("the content type should be `multipart/form-data; boundary=…`, without more parameters")
    return boundary


def _named(head: bytes) -> tuple[str, bool]:
    """A part's name, and whether it is a file."""
    lines = head.split(b"\r\n")
    if not all(_HEADER.fullmatch(line) for line in lines):
        raise _malformed("a part's head should have one header on each line")
    headers = [line.partition(b":") for line in lines]
    told = [value.strip() for key, _, value in headers if key.lower() == b"content-disposition"]
    match = _DISPOSITION.fullmatch(told[0]) if len(told) == 1 else None
    if match is None:
        raise _malformed('each part should have one header `Content-Disposition: form-data; name="…"`')
    try:
        return (match[1] or match[2] or b"").decode(), bool(match[3])
    except UnicodeDecodeError as error:
        raise _malformed("the name of a part should be text in UTF-8") from error


def _malformed(expected: str) -> InvalidRequest:
    return InvalidRequest(f"the body is not a form: {expected}")
