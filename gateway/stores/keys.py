"""Virtual keys on disk: hashed, with a public id."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.contracts.errors import InputError
from gateway.policy.auth import KeyRecord, Scope, new_key
from gateway.settings.limits import Quota
from gateway.stores.cost_lines import IDLE, OVERHEAD
from gateway.stores.database import KEYS
from gateway.stores.dialects import Asked, one_by_one

CHANGES = ("rpm", "tpm", "concurrency", "priority_class", "tags")
"""What of a key can change."""
NO_LIMIT = Quota()
LOCK = 0x746F6B79
"""Number of the lock that whoever changes a key holds: changes are seen in the order of their numbers."""
NEXT = sa.select(sa.func.coalesce(sa.func.max(KEYS.c.change), 0) + 1).scalar_subquery()
_COLUMNS = [column.name for column in KEYS.c]
_RECORD = [column for column in KEYS.c if column.name != "change"]


class KeyStore:
    """Create, list, change and revoke keys.

    Each change has the next number. Who changes keys holds a lock until the change is committed, so that whoever sees a
    number sees all lower ones too.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._every = Asked(engine, sa.select(KEYS))
        self._later = Asked(engine, sa.select(KEYS).where(KEYS.c.change >= sa.bindparam("seen")))

    def create(
        self,
        *,
        name: str,
        team: str,
        scope: Scope,
        models: Sequence[str] | None,
        now: float,
        ttl_s: float | None,
        random_bytes: Callable[[int], bytes],
        quota: Quota = NO_LIMIT,
        priority_class: str | None = None,
        tags: str | None = None,
    ) -> tuple[str, KeyRecord]:
        """(key text, record) of a new key; its `tags` are JSON. The text is not stored: show it once.

        Raises InputError for a team under which reports put what no tenant asked for.
        """
        if team in (IDLE, OVERHEAD):
            raise InputError(f"the team {team!r} is nobody's: reports have idle time and overhead there; name another")
        text, public, digest = new_key(random_bytes)
        record = KeyRecord(
            id=public,
            digest=digest,
            name=name,
            team=team,
            scope=scope,
            models=None if models is None else frozenset(models),
            created_at=now,
            expires_at=None if ttl_s is None else now + ttl_s,
            rpm=quota.rpm,
            tpm=quota.tpm,
            concurrency=quota.concurrency,
            priority_class=priority_class,
            tags=tags,
        )
        values = {column.name: getattr(record, column.name) for column in _RECORD}
        values["models"] = None if models is None else sorted(models)
        with self._engine.begin() as connection:
            one_by_one(connection, LOCK)
            connection.execute(sa.insert(KEYS).values(values | {"change": NEXT}))
        return text, record

    def all(self) -> list[KeyRecord]:
        """Every key, the oldest first, revoked ones included."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*_RECORD).order_by(KEYS.c.created_at, KEYS.c.id)).mappings()
            return [_record(row) for row in rows]

    def changed(self, seen: int | None) -> tuple[int, list[KeyRecord]] | None:
        """(Number of the last change, each key with the number `seen` or a later one); with None every key.

        None where there is no such number any more: this is not what was read, but a copy of earlier.
        """
        rows = [_told(row) for row in (self._every.rows() if seen is None else self._later.rows(seen))]
        if seen and not rows:
            return None
        last = max((row.pop("change") or 0 for row in rows), default=0)
        return last, [_record(row) for row in rows]

    def update(self, key_id: str, changes: Mapping[str, int | str | None]) -> KeyRecord:
        """Set or lift limits and tags of a key (names out of CHANGES; None lifts), and return what it is now.

        Raises InputError for an unknown id. Running gateways follow within a second.
        """
        if unknown := changes.keys() - set(CHANGES):
            raise ValueError(f"expected names out of {', '.join(CHANGES)}, found {', '.join(sorted(unknown))}")
        with self._engine.begin() as connection:
            if changes:
                one_by_one(connection, LOCK)
                values = dict(changes) | {"change": NEXT}
                connection.execute(sa.update(KEYS).where(KEYS.c.id == key_id).values(values))
            row = connection.execute(sa.select(*_RECORD).where(KEYS.c.id == key_id)).mappings().one_or_none()
        if row is None:
            raise _unknown(key_id)
        return _record(row)

    def revoke(self, key_id: str, now: float) -> None:
        """End a key. Raises InputError for an unknown id; revoking twice keeps the first moment."""
        ended = {"revoked_at": sa.func.coalesce(KEYS.c.revoked_at, now), "change": NEXT}
        with self._engine.begin() as connection:
            one_by_one(connection, LOCK)
            found = connection.execute(sa.update(KEYS).where(KEYS.c.id == key_id).values(ended))
            if found.rowcount == 0:
                raise _unknown(key_id)


def _told(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row as a driver has it: SQLite's gives JSON as its text, PostgreSQL's as what it says."""
    values = dict(zip(_COLUMNS, row, strict=True))
    if isinstance(models := values["models"], str):
        values["models"] = msgspec.json.decode(models)
    return values


def _record(row: sa.RowMapping | dict[str, Any]) -> KeyRecord:
    return KeyRecord(**{**row, "models": None if row["models"] is None else frozenset(row["models"])})


def _unknown(key_id: str) -> InputError:
    return InputError(f"no key with the id {key_id!r}: `gateway keys list` shows the ids")
