"""Keys on disk: found again as they were made, without their text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.contracts.errors import InputError, InvalidKey
from gateway.policy.auth import KeyRecord, authenticate
from gateway.stores.database import KEYS, open_database
from gateway.stores.keys import KeyStore
from tests.gateway.builders import NOW, counting_bytes


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = open_database(f"sqlite:///{tmp_path / 't.db'}")
    yield made
    made.dispose()


@pytest.fixture
def store(engine: sa.Engine) -> KeyStore:
    return KeyStore(engine)


def _create(store: KeyStore, first: int = 0, **changes: Any) -> tuple[str, KeyRecord]:
    asked = {"name": "n", "team": "search", "scope": "serve", "models": None, "now": NOW, "ttl_s": None}
    return store.create(**{**asked, **changes}, random_bytes=counting_bytes(first))


def test_a_key_comes_back_as_it_was_made_and_opens(store: KeyStore) -> None:
    text, record = _create(store, scope="evaluate", models=["shop", "faq"], ttl_s=60.0)
    assert store.all() == [record]
    assert (record.models, record.expires_at, record.revoked_at) == (frozenset({"faq", "shop"}), NOW + 60, None)
    assert authenticate(f"Bearer {text}".encode(), None, {r.id: r for r in store.all()}, NOW).scope == "evaluate"


def test_no_list_is_every_model_and_an_empty_list_is_none(store: KeyStore) -> None:
    _create(store, 0, models=None)
    _create(store, 10, models=[])
    assert [record.models for record in store.all()] == [None, frozenset()]


def test_the_text_is_stored_nowhere(store: KeyStore, tmp_path: Path, engine: sa.Engine) -> None:
    text, _ = _create(store)
    engine.dispose()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert text.encode() not in stored
    assert text.rpartition("-")[2].encode() not in stored


def test_the_oldest_comes_first(store: KeyStore) -> None:
    _create(store, 0, now=NOW, name="late")
    _create(store, 10, now=NOW - 5, name="early")
    assert [record.name for record in store.all()] == ["early", "late"]


def test_a_revoked_key_stays_listed_and_no_longer_opens(store: KeyStore) -> None:
    text, record = _create(store)
    store.revoke(record.id, NOW + 1)
    (found,) = store.all()
    assert found.revoked_at == NOW + 1
    with pytest.raises(InvalidKey, match="revoked"):
        authenticate(f"Bearer {text}".encode(), None, {found.id: found}, NOW + 1)


def test_revoking_twice_keeps_the_first_moment(store: KeyStore) -> None:
    _, record = _create(store)
    store.revoke(record.id, NOW + 1)
    store.revoke(record.id, NOW + 2)
    assert store.all()[0].revoked_at == NOW + 1


@pytest.mark.parametrize("key_id", ["", "ffffffffffff", "%", "' OR 1=1 --"])
def test_an_unknown_id_is_refused_and_ends_nothing(store: KeyStore, key_id: str) -> None:
    _create(store)
    with pytest.raises(InputError, match="gateway keys list"):
        store.revoke(key_id, NOW)
    assert store.all()[0].revoked_at is None


def test_text_is_stored_as_text(store: KeyStore) -> None:
    name = "Robert'); DROP TABLE keys; -- é\n"
    _create(store, name=name, team=name, models=[name])
    (found,) = store.all()
    assert (found.name, found.team, found.models) == (name, name, frozenset({name}))


def test_an_id_is_never_given_twice(store: KeyStore, engine: sa.Engine) -> None:
    _create(store)
    with pytest.raises(sa.exc.IntegrityError):
        _create(store)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(KEYS)).scalar() == 1
