"""Which hours of a replica have books."""

import sqlalchemy as sa

from gateway.stores.cost_lines import STALE
from gateway.stores.database import REPLICA_HOURS


def without_books(connection: sa.Connection, replica: str, first: int, last: int, *, closed: bool = False) -> list[int]:
    """Hours since the epoch, from `first` on and before `last`, of which a replica has no books.

    With `closed`, books that have to be closed again are none.
    """
    if first >= last:
        return []
    books = REPLICA_HOURS.c
    of = [books.replica == replica, books.hour >= first, books.hour < last]
    if closed:
        of.append(books.closed_at != STALE)
    # Counted first: of most replicas nothing is missing, and their hours are many.
    if connection.execute(sa.select(sa.func.count()).where(*of)).scalar_one() == last - first:
        return []
    there = set(connection.execute(sa.select(books.hour).where(*of)).scalars())
    return [hour for hour in range(first, last) if hour not in there]
