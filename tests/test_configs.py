"""The example configurations are what they say: valid, and complete."""

from pathlib import Path

import yaml
from pydantic import BaseModel

from gateway import config
from gateway.config import GatewayConfig

REFERENCE = Path(__file__).parents[1] / "configs" / "reference" / "gateway.yaml"
NOT_TOLD = {
    "routing.hash_key.env",
    "routing.hash_key.file",
    "redis.password.file",
    "pools.provider.base_url",
    "pools.provider.api_key.file",
    "pools.replicas.api_key.file",
    "pools.gpu.profile",
    "admin.tls.certificate",
    "admin.tls.key",
    "pools.replicas.gpu.profile",
}
"""What stands in the file as a comment."""
NAMED = ("pools", "models", "classes", "teams", "regions.calendars", "windows", "seasons", "budgets", "admin.tokens")
"""What holds things by their names."""


def _told(value: object, path: str = "", *, inside: bool = False) -> set[str]:
    """The keys of a document. What stands under `NAMED` are names, and their keys come below those."""
    if isinstance(value, list):
        return {key for each in value for key in _told(each, path)}
    if not isinstance(value, dict):
        return {path}
    if path in ("regions.calendars.dates", "tags"):
        return {path}
    if path in NAMED and not inside:
        return {key for each in value.values() for key in _told(each, path, inside=True)}
    return {key for name, each in value.items() for key in _told(each, f"{path}.{name}".strip("."))}


def _known(model: type[BaseModel], path: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        inner = [each for each in _types(field.annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
        here = f"{path}.{field.alias or name}".strip(".")
        found |= {key for each in inner for key in _known(each, here)} if inner else {here}
    return found


def _types(annotation: object) -> list[object]:
    """The types inside a type."""
    arguments = getattr(annotation, "__args__", ())
    return [annotation, *(each for argument in arguments for each in _types(argument))]


def test_the_reference_is_valid_and_its_values_are_the_defaults() -> None:
    found = config.load(REFERENCE, trust=True).config
    defaults = GatewayConfig.model_construct()
    for name in ("listen", "limits", "timeouts", "health", "routing", "classes"):
        assert getattr(found, name) == getattr(defaults, name), name


def test_the_reference_names_every_key() -> None:
    assert _known(GatewayConfig) - NOT_TOLD == _told(yaml.safe_load(REFERENCE.read_text()))
