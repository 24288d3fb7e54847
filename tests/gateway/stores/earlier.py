"""Databases as earlier programs left them: tables without a revision."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.stores.dialects import connect

OLD = """
CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY, digest BLOB NOT NULL, name TEXT NOT NULL, team TEXT NOT NULL, scope TEXT NOT NULL,
    models JSON, created_at FLOAT NOT NULL, expires_at FLOAT, revoked_at FLOAT
);
CREATE TABLE ledger (
    request_id TEXT NOT NULL PRIMARY KEY, started_at FLOAT NOT NULL, key_id TEXT NOT NULL, team TEXT NOT NULL,
    purpose TEXT NOT NULL, model TEXT NOT NULL, release TEXT NOT NULL, release_digest TEXT NOT NULL,
    endpoint TEXT NOT NULL, stream BOOLEAN NOT NULL, outcome TEXT NOT NULL, status INTEGER NOT NULL, replica TEXT,
    attempts INTEGER NOT NULL, input_tokens BIGINT, output_tokens BIGINT, cost_nano BIGINT, currency TEXT NOT NULL,
    price_version TEXT NOT NULL, first_byte_s FLOAT, duration_s FLOAT NOT NULL
);
CREATE INDEX ix_ledger_started_at ON ledger (started_at);
INSERT INTO keys VALUES ('k', '0', 'n', 't', 'serve', '["faq"]', 1.0, NULL, NULL);
INSERT INTO ledger VALUES ('r', 1.0, 'k', 't', 'serve', 'faq', 'faq@1', 'd', '/v1/x', false, 'completed', 200, NULL, 1,
    5, 6, 7, 'USD', 'v1', NULL, 1.0);
"""
"""What a database of an earlier version holds: keys without limits, and a ledger that does not know of caches."""


def leave(url: str, script: str = OLD) -> None:
    """Run a script in a database, and let it go."""
    engine = connect(url)
    if engine.dialect.name == "postgresql":
        script = script.replace("BLOB", "BYTEA")
    with engine.begin() as connection:
        for statement in filter(str.strip, script.split(";")):
            connection.exec_driver_sql(statement)
    engine.dispose()


def columns(engine: Engine) -> dict[str, set[str]]:
    """The columns of every table."""
    found = sa.inspect(engine)
    return {name: {column["name"] for column in found.get_columns(name)} for name in found.get_table_names()}
