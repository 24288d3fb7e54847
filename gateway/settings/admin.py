"""The admin API: where it answers, and who may use it. Without this part of a configuration there is none."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.contracts import documents

Role = Literal["read", "write"]
"""`read` looks; `write` changes too."""
TokenName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class AdminListen(documents.Frozen):
    """A port of its own, never that of clients."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8081


class AdminTls(documents.Frozen):
    """Files in PEM: the certificate with those that it rests on, and its private key."""

    certificate: Path
    key: Path


class AdminToken(documents.Secret):
    """Where a token of 32 characters or more lies, and what it may do. Its name stands in the log for who it was."""

    role: Role = "read"


class AdminConfig(documents.Frozen):
    """The admin API. Tokens in files, certificate and key count as their files say now; all else needs a restart."""

    listen: AdminListen = AdminListen()
    tokens: Annotated[Mapping[TokenName, AdminToken], Field(min_length=1, max_length=64)]
    tls: AdminTls | None = None

    @property
    def in_the_clear(self) -> bool:
        """Whether tokens may cross a network as plain text."""
        return self.tls is None and not _loopback(self.listen.host)

    def anchored(self, base: Path) -> "AdminConfig":
        """The same with relative paths made relative to a folder."""
        tokens = {
            name: token if token.file is None else token.model_copy(update={"file": base / token.file})
            for name, token in self.tokens.items()
        }
        tls = self.tls and AdminTls(certificate=base / self.tls.certificate, key=base / self.tls.key)
        return self.model_copy(update={"tokens": tokens, "tls": tls})


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
