"""Release state: which release of a model was promoted last."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.stores.database import LIVE
from gateway.stores.dialects import Asked, insert


class ReleaseStore:
    """The live release of each model, where an operator promoted one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._all = Asked(engine, sa.select(LIVE.c.model, LIVE.c.release, LIVE.c.release_digest))

    def promoted(self) -> dict[str, tuple[str, str]]:
        """Model to (release, digest) of what was promoted last."""
        return {model: (release, digest) for model, release, digest in self._all.rows()}

    def promote(self, model: str, release: str, digest: str, now: float) -> None:
        """Make a release the live one. The caller has asked its gate."""
        values = {"release": release, "release_digest": digest, "promoted_at": now}
        statement = insert(self._engine, LIVE).values(model=model, **values)
        with self._engine.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=[LIVE.c.model], set_=values))
