"""Release state: which release of a model was promoted last."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.stores.database import LIVE
from gateway.stores.dialects import insert


class ReleaseStore:
    """The live release of each model, where an operator promoted one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def promoted(self) -> dict[str, tuple[str, str]]:
        """Model to (release, digest) of what was promoted last."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(LIVE.c.model, LIVE.c.release, LIVE.c.release_digest))
            return {model: (release, digest) for model, release, digest in rows}

    def promote(self, model: str, release: str, digest: str, now: float) -> None:
        """Make a release the live one. The caller has asked its gate."""
        values = {"release": release, "release_digest": digest, "promoted_at": now}
        statement = insert(self._engine, LIVE).values(model=model, **values)
        with self._engine.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=[LIVE.c.model], set_=values))
