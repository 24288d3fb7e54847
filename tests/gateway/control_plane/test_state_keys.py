"""Keys are followed by what changed of them, and read as a whole now and then."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.control_plane.state import ALL_KEYS_S, State
from gateway.stores.database import KEYS, open_database
from gateway.stores.keys import KeyStore
from gateway.stores.releases import ReleaseStore
from tests.gateway.builders import NOW, counting_bytes, deployment


class House:
    """A database, a clock, and a gateway's state of both."""

    def __init__(self, folder: Path) -> None:
        self.engine, self.now = open_database(f"sqlite:///{folder / 't.db'}"), NOW
        self.keys = KeyStore(self.engine)

    def state(self) -> State:
        return State(deployment(), self.keys, ReleaseStore(self.engine), lambda: self.now, pools={})

    def key(self, first: int) -> str:
        asked = {"name": "n", "team": "t", "scope": "serve", "models": None, "now": NOW, "ttl_s": None}
        return self.keys.create(**asked, random_bytes=counting_bytes(first))[1].id

    def by_hand(self, statement: sa.Update | sa.Delete) -> None:
        with self.engine.begin() as connection:
            connection.execute(statement)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.engine.dispose()


def test_a_look_reads_what_changed_and_nothing_else(house: House) -> None:
    first = house.key(0)
    state = house.state()
    rows: list[int] = []

    @sa.event.listens_for(house.engine, "before_cursor_execute")
    def heard(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        rows.append("FROM keys" in statement and "WHERE keys.change >=" not in statement)

    second = house.key(20)
    house.keys.revoke(first, NOW)
    rows.clear()
    for _ in range(3):
        state.refresh()
    assert rows
    assert not any(rows), "all keys were read"
    assert state.snapshot.keys[first].revoked_at == NOW
    assert state.snapshot.keys[second].principal is not None
    known = state.snapshot.keys
    state.refresh()
    assert state.snapshot.keys is known


def test_what_a_hand_changed_counts_once_all_are_read_and_also_when_the_clock_goes_back(house: House) -> None:
    one, two = house.key(0), house.key(20)
    state = house.state()
    house.by_hand(sa.update(KEYS).where(KEYS.c.id == one).values(revoked_at=NOW, change=None))
    state.refresh()
    assert state.snapshot.keys[one].revoked_at is None
    house.now += ALL_KEYS_S
    state.refresh()
    assert state.snapshot.keys[one].revoked_at == NOW
    house.by_hand(sa.delete(KEYS).where(KEYS.c.id == one))
    house.now -= 1.0
    state.refresh()
    assert set(state.snapshot.keys) == {two}


def test_a_database_that_was_restored_from_a_copy_is_read_anew(house: House) -> None:
    one, two = house.key(0), house.key(20)
    state = house.state()
    house.by_hand(sa.delete(KEYS).where(KEYS.c.id == two))
    state.refresh()
    assert set(state.snapshot.keys) == {one}
    again = dataclasses.replace(state.snapshot.keys[one], rpm=3)
    house.keys.update(one, {"rpm": 3})
    state.refresh()
    assert state.snapshot.keys == {one: again}
