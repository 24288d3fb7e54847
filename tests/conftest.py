"""What all tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.gateway.postgres import Postgres, running

# How long one example takes is a matter of the machine, and of who else uses it.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests: a file's stay together, and all that need the one real engine."""
    for item in items:
        group = "engine" if item.get_closest_marker("engine") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL, started once for the whole run."""
    with running() as server:
        yield server
