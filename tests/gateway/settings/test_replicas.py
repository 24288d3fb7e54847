"""Engines by name, and the ranks behind one address."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.settings.replicas import AdapterConfig, ReplicaConfig, ranked


def test_each_rank_is_a_replica_of_its_own() -> None:
    replicas = [ReplicaConfig(url="http://a:8000", name="big", ranks=2), ReplicaConfig(url="http://b:8000")]
    assert [(name, each.url, rank) for name, each, rank in ranked("h100", replicas)] == [
        ("big.0", "http://a:8000", 0),
        ("big.1", "http://a:8000", 1),
        ("h100-1", "http://b:8000", None),
    ]


@pytest.mark.parametrize("wrong", [{"ranks": 1}, {"ranks": 65}, {"ranks": "two"}, {"url": "http://a:8000/v1"}])
def test_what_no_engine_can_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReplicaConfig(**{"url": "http://a:8000", **wrong})


@pytest.mark.parametrize("wrong", [{"name": ""}, {"name": "a b"}, {"name": "a", "path": ""}])
def test_an_adapter_has_a_name_and_perhaps_a_path(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AdapterConfig(**wrong)
