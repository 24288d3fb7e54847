"""The stores behind one database URL, opened together."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Engine

from gateway.settings.ledger import SPOOL
from gateway.stores.costs import Costs
from gateway.stores.counters import Counters
from gateway.stores.database import open_database, path_of
from gateway.stores.keys import KeyStore
from gateway.stores.ledger import Ledger
from gateway.stores.price_books import PriceBooks
from gateway.stores.releases import ReleaseStore
from gateway.stores.rentals import Rentals
from gateway.stores.spend import Spend


@dataclass(frozen=True)
class Stores:
    """Keys, ledger, release state, prices; what was paid for, cost and spent; what engines count; the spool.

    `database` is the one of `url`.
    """

    keys: KeyStore
    ledger: Ledger
    releases: ReleaseStore
    price_books: PriceBooks
    rentals: Rentals
    costs: Costs
    counters: Counters
    spool_folder: Path
    spend: Spend
    database: Engine
    url: str


def open_stores(database: str, spool: Path | None = None) -> Stores:
    """Open the stores of a database. Without a folder the spool lies beside the database's file, or is SPOOL.

    Raises InputError.
    """
    engine = open_database(database)
    if spool is None:
        file = path_of(database)
        spool = SPOOL if file is None else file.with_name(file.name + ".spool")
    return Stores(
        keys=KeyStore(engine),
        ledger=Ledger(engine),
        releases=ReleaseStore(engine),
        price_books=PriceBooks(engine),
        rentals=Rentals(engine),
        costs=Costs(engine),
        counters=Counters(engine),
        spool_folder=spool,
        spend=Spend(engine),
        database=engine,
        url=database,
    )
