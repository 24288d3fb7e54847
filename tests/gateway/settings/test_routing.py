"""The policies that a configuration may name are those that there are."""

from typing import get_args

from gateway.policy.routing import POLICIES
from gateway.settings.routing import PolicyName


def test_every_policy_has_a_name_in_the_configuration_and_the_default_stands_first() -> None:
    assert list(get_args(PolicyName)) == list(POLICIES)
