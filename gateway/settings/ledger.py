"""The ledger: its database, its spool, how long its rows are kept, and what happens when a disk is full."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field

from gateway.contracts import documents

SQLITE = "sqlite:///"
POSTGRES = "postgresql://"
SPOOL = Path("tollgate.spool")
"""The spool's folder where there is no database file for it to lie beside."""

_EXPECTED = f"expected {SQLITE}FILE or {POSTGRES}USER@HOST/NAME"
_SECRET = {"password", "passfile", "sslpassword"}


class LedgerConfig(documents.Frozen):
    """How the ledger is kept.

    `spool` is the folder in which rows wait for the database; None: beside a database file, else `tollgate.spool`.
    `when_full` says what becomes of a request whose row finds no room there: `refuse` it, or `serve` it with its row in
    memory alone. `retention_days` is for how long single rows and the sums of single hours are kept at least; None: for
    ever. Older ones become sums of whole months.
    """

    spool: Path | None = None
    when_full: Literal["refuse", "serve"] = "refuse"
    retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None

    def anchored(self, base: Path, database: str) -> "LedgerConfig":
        """The same with its folder made relative to `base`."""
        spool = self.spool
        if spool is None and database.startswith(POSTGRES):
            spool = SPOOL
        return self if spool is None else self.model_copy(update={"spool": base / spool})


def database_url(value: str) -> str:
    """A URL of a database. Raises ValueError, without repeating a password that it may carry.

    PostgreSQL's client library knows where passwords lie: `PGPASSWORD`, or a file that `PGPASSFILE` names. The gateway
    knows one place more: a file that `PGPASSWORD_FILE` names, with the password alone.
    """
    if value.startswith(SQLITE) and value != SQLITE:
        return value
    scheme = value.split(":", 1)[0].lower()
    if not value.startswith(POSTGRES):
        found = f"a URL of {scheme!r}" if "@" in value else repr(value)
        raise ValueError(f"{_EXPECTED}, found {found}")
    try:
        parts = urlsplit(value)
        secret, _ = parts.password is not None, parts.port
        options = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    except ValueError:  # what it says may hold a part of a password
        raise ValueError(f"{_EXPECTED}, found a URL whose host or port cannot be read") from None
    if secret or options & _SECRET:
        raise ValueError(
            "a URL carries no password: put it into $PGPASSWORD, or into a file of its own that $PGPASSWORD_FILE names"
        )
    if not parts.path.strip("/"):
        raise ValueError(f"{_EXPECTED}, found no name of a database in {value!r}")
    return value


def anchored_database(url: str, base: Path) -> str:
    """The same URL, with a relative path of a file made relative to `base`."""
    return SQLITE + str(base / url.removeprefix(SQLITE)) if url.startswith(SQLITE) else url
