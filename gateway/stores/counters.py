"""What engines count themselves, at some moments, and what the ledger has of the same replica and time."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.contracts.ledger import GATEWAY_LOST
from gateway.policy.endpoints import ENDPOINTS
from gateway.stores.database import ENGINE_COUNTERS, LEDGER

LOOKED_AT = 20
"""Of a replica's rows the latest so many say what it tells: some kinds of request are never told of."""
TELLING = [path for path, endpoint in ENDPOINTS.items() if endpoint.wire in ("chat", "completions", "responses")]
"""The endpoints whose answers have an engine's times and its cached tokens, where it tells them."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of a replica at a moment: tokens since its process began. Times in seconds since the epoch.

    `prompt_tokens` includes `cached_tokens`. None: its page does not say.
    """

    replica: str
    at: float
    started_at: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    generation_tokens: int | None


@dataclass(frozen=True, slots=True)
class Sums:
    """What the ledger has of a replica between two moments.

    `prompt` and `output` are the tokens of requests that lie between them; `prompt_edge` and `output_edge` those of
    requests that reach over one of them, of which some part, none or all was counted between. A prompt counts once for
    each of its choices, as engines count it. `unmetered` requests, or attempts that failed, may have cost tokens that
    nobody told.
    """

    prompt: int = 0
    output: int = 0
    prompt_edge: int = 0
    output_edge: int = 0
    requests: int = 0
    unmetered: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """Whether a replica's answers carry its own times and its cached tokens. None: it has answered nothing yet."""

    times: bool | None = None
    cached: bool | None = None


class Counters:
    """Snapshots in, and the ledger's sums to hold against them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, snapshot: Snapshot, apart_s: float) -> bool:
        """Store a snapshot, unless its replica has one less than `apart_s` older: of another worker, or gateway.

        Whether it was stored. Two at the same time may both be: each is true.
        """
        columns = ENGINE_COUNTERS.c
        known = sa.select(sa.func.count()).where(
            columns.replica == snapshot.replica, columns.at > snapshot.at - apart_s, columns.at <= snapshot.at
        )
        values = {column.name: getattr(snapshot, column.name) for column in ENGINE_COUNTERS.columns}
        with self._engine.begin() as connection:
            if connection.execute(known).scalar_one():
                return False
            connection.execute(sa.insert(ENGINE_COUNTERS).values(values))
        return True

    def snapshots(self, since: float | None, until: float | None, replica: str | None = None) -> list[Snapshot]:
        """Those of a period, by replica and time. Both ends belong to it: a day that ends at midnight has its last."""
        columns = ENGINE_COUNTERS.c
        query = sa.select(ENGINE_COUNTERS).order_by(columns.replica, columns.at)
        if since is not None:
            query = query.where(columns.at >= since)
        if until is not None:
            query = query.where(columns.at <= until)
        if replica is not None:
            query = query.where(columns.replica == replica)
        with self._engine.connect() as connection:
            return [Snapshot(**row) for row in connection.execute(query).mappings()]

    def sums(
        self, replica: str, since: float, until: float, *, slack_s: float, longest_s: float, worked: Collection[str]
    ) -> Sums:
        """What the ledger has between two moments, which are known to `slack_s`; no request lasts over `longest_s`.

        `worked` are the outcomes of requests that an engine may have worked for though nobody told how much. Those that
        died with a gateway may have been on any replica.
        """
        columns, ended = LEDGER.c, LEDGER.c.started_at + LEDGER.c.duration_s
        near = (columns.started_at > since - slack_s - longest_s, columns.started_at < until + slack_s)
        within = (*near, ended > since - slack_s)
        between = sa.and_(columns.started_at >= since + slack_s, ended <= until - slack_s)

        prompt = columns.input_tokens * sa.func.coalesce(columns.choices, 1)
        lost = sa.and_(columns.replica.is_(None), columns.outcome == GATEWAY_LOST)

        def tokens(column: sa.ColumnElement[Any], wanted: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
            return sa.func.coalesce(sa.func.sum(sa.case((wanted, column))), 0)

        query = sa.select(
            tokens(prompt, between).label("prompt"),
            tokens(columns.output_tokens, between).label("output"),
            tokens(prompt, ~between).label("prompt_edge"),
            tokens(columns.output_tokens, ~between).label("output_edge"),
            sa.func.count().label("requests"),
            tokens(sa.literal(1), sa.and_(columns.input_tokens.is_(None), columns.outcome.in_(worked))).label(
                "unmetered"
            ),
        ).where(sa.or_(columns.replica == replica, lost), *within)
        tried = sa.select(sa.func.count()).where(
            columns.tries.contains(f"[{json.dumps(replica)},", autoescape=True), *within
        )
        with self._engine.connect() as connection:
            found = dict(connection.execute(query).mappings().one())
            failed = connection.execute(tried).scalar_one()
        return Sums(**{**{name: int(value) for name, value in found.items()}, "unmetered": found["unmetered"] + failed})

    def told(self, replicas: Sequence[str], since: float) -> dict[str, Told]:
        """What each replica's latest answers since a moment say of what it tells."""
        with self._engine.connect() as connection:
            return {replica: self._told(connection, replica, since) for replica in replicas}

    @staticmethod
    def _told(connection: sa.Connection, replica: str, since: float) -> Told:
        columns = LEDGER.c
        query = (
            sa.select(columns.engine_prefill_s, columns.cached_tokens)
            .where(columns.started_at >= since, columns.replica == replica, columns.output_tokens > 0)
            .where(columns.endpoint.in_(TELLING))
            .order_by(columns.started_at.desc())
            .limit(LOOKED_AT)
        )
        rows = connection.execute(query).all()
        if not rows:
            return Told()
        return Told(any(row[0] is not None for row in rows), any(row[1] is not None for row in rows))
