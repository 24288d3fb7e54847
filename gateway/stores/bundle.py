"""The stores behind one database URL, opened together."""

from dataclasses import dataclass
from pathlib import Path

from gateway.stores.database import open_database, path_of
from gateway.stores.keys import KeyStore
from gateway.stores.ledger import Ledger
from gateway.stores.releases import ReleaseStore


@dataclass(frozen=True)
class Stores:
    """Keys, ledger, release state, and the folder of the spool beside them."""

    keys: KeyStore
    ledger: Ledger
    releases: ReleaseStore
    spool_folder: Path


def open_stores(database: str) -> Stores:
    """Open the stores of a database. Raises InputError."""
    engine = open_database(database)
    folder = path_of(database)
    return Stores(KeyStore(engine), Ledger(engine), ReleaseStore(engine), folder.with_name(folder.name + ".spool"))
