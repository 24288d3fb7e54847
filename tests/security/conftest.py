"""One gateway for the tests of one file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.front import Front, front


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A running gateway with an engine behind it."""
    folder: Path = tmp_path_factory.mktemp("front")
    with front(folder) as made:
        yield made
