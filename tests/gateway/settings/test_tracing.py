"""Where traces go: an address without a secret in it, and a part of all requests."""

import pytest
from pydantic import ValidationError

from gateway.settings.tracing import TracingConfig


def test_the_path_of_traces_is_added() -> None:
    assert TracingConfig(endpoint="http://collector:4318").url == "http://collector:4318/v1/traces"
    assert TracingConfig(endpoint="https://c/otlp/").url == "https://c/otlp/v1/traces"


@pytest.mark.parametrize(
    "wrong",
    [{"endpoint": "collector:4317"}, {"endpoint": "http://me:secret@c"}, {"endpoint": "http://c", "sample": 1.1}, {}],
)
def test_what_is_wrong_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TracingConfig.model_validate(wrong)
