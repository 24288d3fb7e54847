"""Who asks the admin API: named tokens, compared in constant time, read again when their files change.

A token is 32 characters or more, so that there is nothing to guess: `openssl rand -hex 32` makes one.
"""

import hashlib
import hmac
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.contracts.errors import InputError, InvalidKey
from gateway.settings.admin import AdminToken, Role

LEAST = 32
_TOKEN = re.compile(r"[\x21-\x7e]{32,1024}")
_NO_DIGEST = bytes(32)

Mark = tuple[int, int, int]

log = logging.getLogger("tollgate")


@dataclass(frozen=True)
class Operator:
    """The name of the token that was shown, and what it may do."""

    name: str
    role: Role


@dataclass
class _Known:
    """A token's digest; none that any token has while its file cannot be used."""

    token: AdminToken
    mark: Mark | None
    digest: bytes


class Tokens:
    """The tokens of a configuration. Reads them all: raises InputError for one that is not there, is too short, or is
    another one's too."""

    def __init__(self, tokens: Mapping[str, AdminToken]) -> None:
        # Marked before it is read, so that no later change is missed.
        self._known = {name: _Known(token, mark(token.file), _digest(name, token)) for name, token in tokens.items()}
        distinct = {each.digest for each in self._known.values()}
        if len(distinct) < len(self._known):
            raise InputError("two tokens of `admin.tokens` are the same: whoever asks would have two names")

    @property
    def operators(self) -> list[Operator]:
        """Everybody who may ask."""
        return [Operator(name, each.token.role) for name, each in self._known.items()]

    def operator(self, authorization: bytes | None) -> Operator:
        """Who is behind `Authorization: Bearer TOKEN`. Raises InvalidKey.

        Each token is compared, whether an earlier one was it or not.
        """
        if authorization is None:
            raise InvalidKey("no token: send the header `Authorization: Bearer TOKEN` with one of `admin.tokens`")
        scheme, _, shown = authorization.partition(b" ")
        digest, found = hashlib.sha256(shown.strip()).digest(), None
        for name, each in self._known.items():
            self._follow(name, each)
            if hmac.compare_digest(digest, each.digest):
                found = Operator(name, each.token.role)
        if found is None or scheme.lower() != b"bearer":
            raise InvalidKey("unknown token: expected one of `admin.tokens` as `Authorization: Bearer TOKEN`")
        return found

    def _follow(self, name: str, known: _Known) -> None:
        """Read a token's file again when it has changed. One that cannot be used opens nothing until it can."""
        now = mark(known.token.file)
        if now == known.mark:
            return
        known.mark = now
        try:
            known.digest = _digest(name, known.token)
        except InputError as error:
            known.digest = _NO_DIGEST
            log.error("admin: the token %r opens nothing until this is mended: %s", name, error)
        else:
            log.warning("admin: the token %r was read again", name)


def _digest(name: str, token: AdminToken) -> bytes:
    text = token.read()
    if _TOKEN.fullmatch(text) is None:
        raise InputError(
            f"admin.tokens.{name}: expected {LEAST} to 1024 printable characters without spaces, found something else "
            f"({len(text)} characters): `openssl rand -hex 32` makes one"
        )
    return hashlib.sha256(text.encode()).digest()


def mark(path: Path | None) -> Mark | None:
    """What tells that a file changed; None for one that is not there, and for no file."""
    try:
        stat = None if path is None else path.stat()
    except OSError:
        return None
    return None if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino)
