"""What tests of the gateway share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What nobody holds any more has to go by itself."""
    gc.collect()
    gc.freeze()  # what other tests have left need not be looked through each time
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
