"""Canonical JSON (RFC 8785) and the digests made of it."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import rfc8785

from gateway.contracts.errors import InputError


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value. Raises InputError for integers beyond 2^53 and non-finite floats."""
    try:
        return msgspec.json.encode(value, order="sorted") if _is_text(value) else rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, ValueError) as error:
        raise InputError(f"this value has no canonical JSON form: {error}") from error


def _is_text(value: Any) -> bool:
    """Whether it holds neither numbers nor keys beyond ASCII: msgspec then writes the same bytes, much faster.

    RFC 8785 writes numbers as ECMAScript does and sorts keys by their UTF-16 units, which msgspec does not.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is dict:
        return all(type(key) is str and key.isascii() for key in value) and all(map(_is_text, value.values()))
    return (kind is list or kind is tuple) and all(map(_is_text, value))


def digest(value: Any) -> str:
    """`sha256:` and 64 hexadecimal digits of the canonical JSON of a value."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path) -> str:
    """`sha256:` and 64 hexadecimal digits of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
