"""Canonical JSON (RFC 8785) and the digests made of it."""

import hashlib
from pathlib import Path
from typing import Any

import rfc8785

from gateway.contracts.errors import InputError


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value. Raises InputError for integers beyond 2^53 and non-finite floats."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, ValueError) as error:
        raise InputError(f"this value has no canonical JSON form: {error}") from error


def digest(value: Any) -> str:
    """`sha256:` and 64 hexadecimal digits of the canonical JSON of a value."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path) -> str:
    """`sha256:` and 64 hexadecimal digits of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
