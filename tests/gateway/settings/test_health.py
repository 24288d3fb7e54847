"""Values of the configuration that decisions read too: their defaults, and what they refuse."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.settings.health import Health


def test_engines_are_watched_without_a_word_of_configuration() -> None:
    health = Health()
    assert (health.probes, health.fingerprint) == (True, True)
    assert health.timeout < health.period


@pytest.mark.parametrize(
    "wrong",
    [{"period": 0}, {"timeout": -1}, {"failures": 0}, {"slow_start": -0.1}, {"interval": 5}, {"period": "soon"}],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Health.model_validate(wrong)
