"""What all tests share."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.gateway.postgres import Postgres, running

# How long one example takes is a matter of the machine, and of who else uses it.
settings.register_profile("house", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))

LONGEST = "tests/test_house.py", "tests/faults/", "tests/benchmarks/test_soak.py"
"""Half a minute and more."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: tests of gateways, networks and clocks wait as long as they work."""
    return 2 + (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: nobody is left waiting for it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """What is collected stays to the end: looking for circles among ten thousand tests finds none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor need the collector walk them each time that a test has it look."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL, started once for the whole run."""
    with running() as server:
        yield server
