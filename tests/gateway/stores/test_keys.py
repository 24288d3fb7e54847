"""Keys on disk: found again as they were made, without their text."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.contracts.errors import InputError, InvalidKey
from gateway.policy.auth import KeyRecord, authenticate
from gateway.settings.limits import Quota
from gateway.stores.cost_lines import IDLE, OVERHEAD
from gateway.stores.database import KEYS, open_database
from gateway.stores.keys import KeyStore
from tests.gateway.builders import NOW, counting_bytes


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


def test_what_changed_comes_as_all_of_them_do(store: KeyStore) -> None:
    _create(store, 0, models=None)
    _create(store, 10, models=[])
    limits = {"quota": Quota(rpm=5, tpm=10**12, concurrency=3), "priority_class": "batch", "tags": '{"a": "50 %"}'}
    _create(store, 20, models=["shop", "faq"], scope="evaluate", ttl_s=60.0, name="100 %s ä", **limits)
    store.revoke(_create(store, 30)[1].id, NOW + 1.5)
    assert store.changed(None) == (5, store.all())
    assert store.changed(0) == store.changed(None)


def test_the_text_is_stored_nowhere(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 't.db'}")
    text, _ = _create(KeyStore(engine))
    engine.dispose()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert text.encode() not in stored
    assert text.rpartition("-")[2].encode() not in stored


def test_what_changed_is_found_by_its_number_and_all_without_one(store: KeyStore) -> None:
    assert store.changed(None) == (0, [])
    one, two = _create(store, 0)[1], _create(store, 10)[1]
    assert store.changed(None) == (2, [one, two])
    store.revoke(one.id, NOW)
    assert store.changed(2) == (3, [two, dataclasses.replace(one, revoked_at=NOW)])
    store.update(two.id, {"rpm": 5})
    store.update(two.id, {})
    assert store.changed(4) == (4, [dataclasses.replace(two, rpm=5)])
    assert store.changed(5) is None, "nobody has that number: this is not what was read before"


def test_keys_without_a_number_are_of_before_the_numbers(engine: sa.Engine) -> None:
    store = KeyStore(engine)
    old = _create(store, 0)[1]
    with engine.begin() as connection:
        connection.execute(sa.update(KEYS).values(change=None))
    assert store.changed(None) == (0, [old])
    assert store.changed(0) == (0, [])
    store.revoke(old.id, NOW)
    assert store.changed(0) == (1, [dataclasses.replace(old, revoked_at=NOW)])


def test_whoever_sees_a_number_sees_all_lower_ones(engine: sa.Engine) -> None:
    """Eight at once change keys while one reads what is new: at the end it knows all that there is."""
    store, count = KeyStore(engine), 8
    records = [_create(store, 20 * number)[1] for number in range(count)]
    known, seen = {record.id: record for record in records}, count
    with ThreadPoolExecutor(count) as threads:
        changing = [threads.submit(store.update, record.id, {"rpm": 1 + at}) for at in range(3) for record in records]
        while not all(each.done() for each in changing):
            found = store.changed(seen)
            assert found is not None
            seen = found[0]
            known |= {record.id: record for record in found[1]}
        last = store.changed(seen)
    assert last is not None
    known |= {record.id: record for record in last[1]}
    assert last[0] == 4 * count
    assert known == {record.id: record for record in store.all()}


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


@pytest.mark.parametrize("team", [IDLE, OVERHEAD])
def test_what_stands_under_nobodys_team_has_no_key(store: KeyStore, team: str) -> None:
    """Its costs would read as idle time, and no budget would count them."""
    with pytest.raises(InputError, match=f"{team}' is nobody's"):
        _create(store, team=team)
    assert store.all() == []


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


def test_limits_come_back_as_they_were_given(store: KeyStore) -> None:
    _, record = _create(store, quota=Quota(rpm=600, tpm=10**12, concurrency=1), priority_class="batch")
    assert (record.rpm, record.tpm, record.concurrency, record.priority_class) == (600, 10**12, 1, "batch")
    assert store.all() == [record]


def test_a_limit_is_set_and_lifted_and_the_others_stay(store: KeyStore) -> None:
    _, record = _create(store, quota=Quota(rpm=600, tpm=1000))
    _, other = _create(store, 10)
    changed = store.update(record.id, {"rpm": None, "concurrency": 5, "priority_class": "batch"})
    assert (changed.rpm, changed.tpm, changed.concurrency, changed.priority_class) == (None, 1000, 5, "batch")
    assert store.all() == [changed, other]
    assert store.update(record.id, {}) == changed


def test_limits_of_an_unknown_key_are_an_error(store: KeyStore) -> None:
    _, record = _create(store)
    for changes in ({"rpm": 1}, {}):
        with pytest.raises(InputError, match="gateway keys list"):
            store.update("ffffffffffff", changes)
    assert store.all() == [record]


def test_nothing_else_of_a_key_can_be_changed(store: KeyStore) -> None:
    _, record = _create(store)
    with pytest.raises(ValueError, match="team"):
        store.update(record.id, {"team": "sales"})
    assert store.all() == [record]
