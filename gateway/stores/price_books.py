"""Which price books were used: every version stands for one content, in every gateway on the same database.

Rows name the version that they were priced by. If two files could have the same one, nobody could say what a row's
price was.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from gateway.contracts.errors import InputError
from gateway.contracts.prices import PriceBook
from gateway.stores.database import PRICE_BOOKS


@dataclass(frozen=True, slots=True)
class BookVersion:
    """A version, the digest of what it says, and when it was first used, in seconds since the epoch."""

    version: str
    digest: str
    first_used_at: float


class PriceBooks:
    """The versions that were used, once each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register(self, book: PriceBook, now: float) -> None:
        """Say that a book is used from now on. Raises InputError when its version stands for something else."""
        if not book.models:  # there are no prices
            return
        digest, known = book.digest(), None
        try:
            known = self._known(book.version) or self._add(book.version, digest, now)
        except IntegrityError:  # another gateway was first
            known = self._known(book.version)
        if known != digest:
            raise InputError(
                f"prices: a gateway on this database has used the version {book.version!r} for other prices, and rows "
                "name a price by its version alone: give the changed file a new `version`, or have all gateways read "
                f"the same file (expected {known}, found {digest})"
            )

    def versions(self) -> list[BookVersion]:
        """Every version that was used, the first one first."""
        columns = PRICE_BOOKS.c
        query = sa.select(columns.version, columns.digest, columns.first_used_at)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(columns.first_used_at, columns.version))
            return [BookVersion(*row) for row in rows]

    def _known(self, version: str) -> str | None:
        query = sa.select(PRICE_BOOKS.c.digest).where(PRICE_BOOKS.c.version == version)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def _add(self, version: str, digest: str, now: float) -> str:
        with self._engine.begin() as connection:
            connection.execute(sa.insert(PRICE_BOOKS).values(version=version, digest=digest, first_used_at=now))
        return digest
