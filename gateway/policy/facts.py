"""What an engine says of itself, read from its own pages, and held against what it was expected to be.

vLLM's pages: `/version`, `/v1/models` (one card for each served name and each LoRA adapter, which has a `parent`),
`/metrics`, and `/is_sleeping`, which only its development mode has. Its fingerprint stands in completions alone.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from gateway.contracts.release import ReleaseManifest
from gateway.settings.replicas import AdapterConfig

WANTED: Mapping[str, str] = {
    "vllm:num_requests_running": "load",
    "vllm:num_requests_waiting": "load",
    "vllm:kv_cache_usage_perc": "pressure",
    "vllm:num_preemptions_total": "thrash",
    "vllm:engine_sleep_state": "sleepers",
    "vllm:prefix_cache_queries_total": "what prefix routing gains",
    "vllm:prefix_cache_hits_total": "what prefix routing gains",
    "vllm:admission_rejections_total": "shed load",
    "vllm:prompt_tokens_total": "reconciliation of tokens",
    "vllm:generation_tokens_total": "reconciliation of tokens",
    "vllm:request_success_total": "reconciliation of requests",
    "vllm:time_to_first_token_seconds": "latency",
    "vllm:inter_token_latency_seconds": "latency",
    "vllm:request_queue_time_seconds": "latency and cost",
    "vllm:request_prefill_time_seconds": "cost",
    "vllm:request_decode_time_seconds": "cost",
}
"""The metric families that Tollgate wants of an engine, as they are called on the wire, and what for."""

_FAMILY = re.compile(r"^# TYPE (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Facts:
    """One engine, as it was when it was asked. None: it does not say. `missing` are the wanted metrics it lacks.

    `origins` are (adapter, the path that it was loaded from). Its answers carry its own times (`times`), and what its
    cache held of a prompt (`cached`), or not.
    """

    version: str | None = None
    max_model_len: int | None = None
    models: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    origins: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    fingerprint: str | None = None
    times: bool | None = None
    cached: bool | None = None

    def holds(self, adapter: AdapterConfig) -> bool:
        """Whether the engine holds it, and not another one of that name."""
        return adapter.name in self.adapters and self.elsewhere(adapter) is None

    def elsewhere(self, adapter: AdapterConfig) -> str | None:
        """Where the engine has another adapter of that name from; None: it has none, or one of them does not say."""
        if adapter.path is not None:
            for name, origin in self.origins:
                if name == adapter.name and origin.rstrip("/") != adapter.path.rstrip("/"):
                    return origin
        return None

    def loaded(self, name: str, origin: str | None) -> "Facts":
        """The same, with one adapter more. None: nobody says where it is from."""
        rest = self.unloaded(name)
        origins = rest.origins if origin is None else (*rest.origins, (name, origin))
        return replace(rest, adapters=(*rest.adapters, name), origins=origins)

    def unloaded(self, name: str) -> "Facts":
        """The same without an adapter."""
        return replace(
            self,
            adapters=tuple(each for each in self.adapters if each != name),
            origins=tuple((each, origin) for each, origin in self.origins if each != name),
        )


def untold(times: bool | None, cached: bool | None) -> list[str]:
    """What an engine's answers do not carry, and what that means for what its requests cost."""
    lacking = []
    if times is False:
        lacking.append(
            "its own times (vLLM: --enable-per-request-metrics): the cost of a request is split by what the gateway "
            "sees, so time in the engine's queue counts as work"
        )
    if cached is False:
        lacking.append(
            "what its cache held (vLLM: --enable-prompt-tokens-details): prompts cost as if all of them was computed"
        )
    return lacking


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object of an answer; empty when it is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_facts(version: bytes, models: bytes, metrics: bytes) -> Facts:
    """The facts of three pages, each empty where the engine has none. Whatever is not as expected is not known."""
    cards = json_object(models).get("data")
    cards = [card for card in cards if isinstance(card, dict)] if isinstance(cards, list) else []
    names = [(card["id"], card.get("parent")) for card in cards if isinstance(card.get("id"), str)]
    roots = [(card["id"], card.get("root")) for card in cards if isinstance(card.get("id"), str) and card.get("parent")]
    lengths = [card["max_model_len"] for card in cards if isinstance(card.get("max_model_len"), int)]
    told = json_object(version).get("version")
    families = set(_FAMILY.findall(metrics.decode(errors="replace")))
    return Facts(
        version=told if isinstance(told, str) else None,
        max_model_len=lengths[0] if lengths else None,
        models=tuple(name for name, parent in names if parent is None),
        adapters=tuple(name for name, parent in names if parent is not None),
        origins=tuple((name, root) for name, root in roots if isinstance(root, str)),
        missing=tuple(name for name in WANTED if name not in families),
    )


def asleep_by_page(body: bytes) -> bool | None:
    """Whether the engine sleeps by the answer of /is_sleeping; None when that does not say."""
    value = json_object(body).get("is_sleeping")
    return value if isinstance(value, bool) else None


def differences(
    facts: Facts, manifest: ReleaseManifest, served_model: str | None, adapter: AdapterConfig | None = None
) -> list[str]:
    """Where an engine is not what a release's manifest says, each naming both sides. What either leaves open is none.

    `served_model` is the name by which the gateway asks for the model; None where it can have it loaded. `adapter` is
    the release's: an engine that holds another one of that name would answer with other weights.
    """
    expected = manifest.engine
    length = expected.flags.get("max-model-len")
    pairs: list[tuple[str, object, object]] = [
        ("version", expected.version, facts.version),
        ("max_model_len", length if isinstance(length, int) else None, facts.max_model_len),
        ("fingerprint", expected.fingerprint, facts.fingerprint),
    ]
    found = [
        f"{manifest.name} expects {what} {wanted!r}, and the engine has {has!r}"
        for what, wanted, has in pairs
        if wanted is not None and has is not None and wanted != has
    ]
    if adapter is not None and (origin := facts.elsewhere(adapter)) is not None:
        found.append(
            f"{manifest.name} expects the adapter {adapter.name!r} from {adapter.path!r}, and the engine has one of "
            f"that name from {origin!r}: no request for it goes there"
        )
    served = facts.models + facts.adapters
    if served and served_model is not None and served_model not in served:
        found.append(f"{manifest.name} is asked for as {served_model!r}, and the engine serves {', '.join(served)}")
    return found


def disagreements(pool: Sequence[tuple[str, Facts]]) -> list[str]:
    """Where the replicas of one pool (name, facts), which should be alike, are not."""
    found = []
    told: defaultdict[str, dict[object, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, facts in pool:
        alike: list[tuple[str, object]] = [("version", facts.version), ("max_model_len", facts.max_model_len)]
        alike += [(f"where the adapter {adapter!r} is from", origin) for adapter, origin in facts.origins]
        for what, value in alike:
            if value is not None:
                told[what][value].append(name)
    for what, holders in told.items():
        if len(holders) > 1:
            sides = "; ".join(f"{value!r} on {', '.join(names)}" for value, names in holders.items())
            found.append(f"its replicas differ in {what}: {sides}")
    return found
