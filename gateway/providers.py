"""The configuration of external providers, and of the models that answer in another one's place."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.contracts import documents


def _base_url(value: str) -> str:
    documents.http_url(value, "https://api.example.com/v1")
    return value.rstrip("/")


class ProviderConfig(documents.Frozen):
    """An external API, reached through LiteLLM.

    `model` is LiteLLM's name of it: `openai/gpt-5-mini`, `anthropic/claude-sonnet-4-5`. Without `api_key` LiteLLM looks
    for the provider's own environment variables. `base_url` is for an API at another address than the provider's own,
    with the `/v1` that it may want.
    """

    model: Annotated[str, Field(pattern=r"^[a-z0-9_]+/[\x21-\x7e]{1,256}$")]
    api_key: documents.Secret | None = None
    base_url: Annotated[str, AfterValidator(_base_url)] | None = None


def fallback_mistakes(fallbacks: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[documents.Location, str]]:
    """What is wrong with the `fallback` of each model: unknown names, repeated ones, and ways that lead back."""
    for name, wanted in fallbacks.items():
        for index, other in enumerate(wanted):
            at: documents.Location = ("models", name, "fallback", index)
            if other == name:
                yield at, f"{name!r} cannot fall back to itself"
            elif other not in fallbacks:
                yield at, f"no model {other!r}; the models here are {', '.join(sorted(fallbacks))}"
            elif other in wanted[:index]:
                yield at, f"{other!r} is listed twice"
            elif (way := _way(fallbacks, other, name)) is not None:
                yield at, f"a circle: {' → '.join([name, *way])}"


def _way(fallbacks: Mapping[str, tuple[str, ...]], start: str, goal: str) -> list[str] | None:
    """The names from one model to another along `fallback`; None when there is no such way."""
    ways, seen = [[start]], {start}
    while ways:
        way = ways.pop()
        if way[-1] == goal:
            return way
        for other in fallbacks.get(way[-1], ()):
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return None
