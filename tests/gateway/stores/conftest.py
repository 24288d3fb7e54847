"""Databases for tests: each of them runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.stores.database import open_database
from tests.gateway.postgres import Postgres

KINDS = ("sqlite", "postgresql")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Of which kind the database is."""
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A database with today's tables."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 't.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url()


@pytest.fixture
def empty(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A database with nothing in it."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 't.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(empty=True)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    """The same, open."""
    made = open_database(url)
    yield made
    made.dispose()
