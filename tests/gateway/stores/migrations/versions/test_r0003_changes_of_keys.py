"""The third revision gives changes of keys numbers: keys of before have none, and are found with the next change."""

import sqlalchemy as sa

from gateway.stores.database import open_database
from gateway.stores.keys import KeyStore
from tests.gateway.stores.earlier import leave


def test_a_key_of_before_is_read_with_all_and_gets_a_number_when_it_ends(empty: str) -> None:
    leave(empty)
    engine = open_database(empty)
    store = KeyStore(engine)
    seen, (record,) = store.changed(None) or (0, [])
    store.revoke(record.id, 5.0)
    number, (ended,) = store.changed(seen) or (0, [])
    assert (seen, number, ended.revoked_at) == (0, 1, 5.0)
    assert {index["name"] for index in sa.inspect(engine).get_indexes("keys")} == {"ix_keys_change"}
    engine.dispose()
