"""How pools choose: the policies that may be named, and what all pools have in common."""

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from gateway.contracts.documents import Secret
from gateway.policy.routing import POLICIES
from gateway.settings.routing import PolicyName, Routing


def test_every_policy_has_a_name_in_the_configuration_and_the_default_stands_first() -> None:
    assert list(get_args(PolicyName)) == list(POLICIES)


@pytest.mark.parametrize("wrong", [{"session_header": "X-Session"}, {"session_header": ""}, {"hash_key": "text"}])
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Routing.model_validate(wrong)


def test_a_secrets_file_lies_beside_the_configuration() -> None:
    base = Path("configs")
    assert Routing(hash_key=Secret(file=Path("key"))).anchored(base).hash_key == Secret(file=base / "key")
    for kept in (Routing(), Routing(hash_key=Secret(env="KEY"))):
        assert kept.anchored(base) == kept
