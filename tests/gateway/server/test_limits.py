"""The limits are no accident of their order of magnitude: a body waits longer than a head, and a head is bounded."""

from dataclasses import FrozenInstanceError

import pytest

from gateway.server.limits import DEFAULTS


def test_the_defaults_are_bounds() -> None:
    assert 8192 <= DEFAULTS.head_bytes < DEFAULTS.buffer_bytes
    assert 0 < DEFAULTS.head_s <= DEFAULTS.body_s
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.head_s = 0.0  # type: ignore[misc]
