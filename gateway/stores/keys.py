"""Virtual keys on disk: hashed, with a public id."""

import dataclasses
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.contracts.errors import InputError
from gateway.policy.auth import KeyRecord, Scope, new_key
from gateway.stores.database import KEYS


class KeyStore:
    """Create, list and revoke keys."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
    ) -> tuple[str, KeyRecord]:
        """(key text, record) of a new key. The text is not stored: show it once."""
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
        )
        values = dataclasses.asdict(record) | {"models": None if models is None else sorted(models)}
        with self._engine.begin() as connection:
            connection.execute(sa.insert(KEYS).values(values))
        return text, record

    def all(self) -> list[KeyRecord]:
        """Every key, the oldest first, revoked ones included."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(KEYS).order_by(KEYS.c.created_at, KEYS.c.id)).mappings()
            return [
                KeyRecord(**{**row, "models": None if row["models"] is None else frozenset(row["models"])})
                for row in rows
            ]

    def revoke(self, key_id: str, now: float) -> None:
        """End a key. Raises InputError for an unknown id; revoking twice keeps the first moment."""
        with self._engine.begin() as connection:
            found = connection.execute(
                sa.update(KEYS).where(KEYS.c.id == key_id).values(revoked_at=sa.func.coalesce(KEYS.c.revoked_at, now))
            )
            if found.rowcount == 0:
                raise InputError(f"no key with the id {key_id!r}: `gateway keys list` shows the ids")
