"""Engines by name, and the ranks behind one address."""

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.settings.replicas import AdapterConfig, ReplicaConfig, adapter_mistakes, ranked


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


@dataclass(frozen=True)
class Release:
    """A release in a pool, and its adapter."""

    name: str | None = None
    path: str | None = None
    pool: str = "main"

    @property
    def adapter(self) -> AdapterConfig | None:
        """As it is configured."""
        return None if self.name is None else AdapterConfig(name=self.name, path=self.path)


@dataclass(frozen=True)
class Model:
    """The releases of a model."""

    releases: tuple[Release, ...]


@dataclass(frozen=True)
class Pool:
    """What its engines call their base model."""

    served_model: str | None = None


def mistakes(served_model: str | None, *releases: Release) -> list[tuple[Any, str]]:
    """Of the model `faq`."""
    return list(adapter_mistakes({"faq": Model(releases)}, {"main": Pool(served_model), "other": Pool()}))


@pytest.mark.parametrize(
    "releases",
    [
        (Release(), Release("a", "/a"), Release("b", "/b")),
        (Release("a", "/a"), Release("a", "/a"), Release("a")),
        (Release("a", "/a"), Release("a", "/b", pool="other")),
        (Release("faq", "/a"), Release(pool="other")),
        (Release("a", "/a", pool="nowhere"), Release(pool="nowhere")),
    ],
)
def test_adapters_that_engines_can_tell_apart_are_no_mistake(releases: tuple[Release, ...]) -> None:
    assert mistakes(None, *releases) == []


def test_two_adapters_of_one_name_in_one_pool_are_a_mistake() -> None:
    ((at, message),) = mistakes(None, Release("a", "/one"), Release("b", "/two"), Release("a", "/two"))
    assert at == ("models", "faq", "releases", 2, "adapter", "name")
    assert message.startswith("pool 'main' has an adapter 'a' from '/one' already, ")


@pytest.mark.parametrize(
    ("served_model", "releases"), [("base", (Release("base", "/a"),)), (None, (Release("faq"), Release()))]
)
def test_an_adapter_that_is_called_as_the_base_model_is_a_mistake(
    served_model: str | None, releases: tuple[Release, ...]
) -> None:
    ((at, message),) = mistakes(served_model, *releases)
    assert at == ("models", "faq", "releases", 0, "adapter", "name")
    assert "know their base model as" in message
