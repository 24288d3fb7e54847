"""A deployment without a configuration file: ask each engine what it serves."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.config import (
    Deployment,
    GatewayConfig,
    Listen,
    ModelConfig,
    PoolConfig,
    Release,
    ReleaseConfig,
    deploy,
)
from gateway.contracts.documents import Secret
from gateway.contracts.errors import InputError, RequestError
from gateway.contracts.release import MODEL_NAME, Engine, ModelFiles, ReleaseManifest
from gateway.policy.facts import json_object
from gateway.settings.enforcement import Enforcement
from gateway.settings.replicas import ReplicaConfig
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.vllm import Replica, fetch

VERSION = "discovered"
TIMEOUT_S = 10.0


async def discover(
    urls: Sequence[str], *, listen: Listen, prices: Path | None, database: str, api_key: Secret | None
) -> Deployment:
    """One pool for each model that the engines name, with enforcement off. Raises InputError."""
    serving: dict[str, list[ReplicaConfig]] = defaultdict(list)
    described: dict[str, dict[str, Any]] = {}
    for url in urls:
        replica = _replica(url, api_key)
        models, version = await _ask(replica)
        for model in models:
            serving[model["id"]].append(replica)
            described.setdefault(model["id"], {"card": model, "version": version})
    releases = {}
    for name, facts in described.items():
        manifest = _manifest(name, facts["card"], facts["version"])
        releases[manifest.name] = Release(manifest.name, name, manifest.digest(), manifest, name)
    config = GatewayConfig(
        listen=listen,
        database=database,
        prices=prices,
        enforcement=Enforcement(mode="off"),
        pools={model: PoolConfig(replicas=tuple(replicas)) for model, replicas in serving.items()},
        models={
            release.model: ModelConfig(
                live=release.name, releases=(ReleaseConfig(manifest=Path("-"), pool=release.pool),)
            )
            for release in releases.values()
        },
    )
    return deploy(config, releases)


def _replica(url: str, api_key: Secret | None) -> ReplicaConfig:
    try:
        return ReplicaConfig(url=url, api_key=api_key)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--upstream: {reason}") from error


def _manifest(model: str, card: dict[str, Any], version: str | None) -> ReleaseManifest:
    """What can be known from outside: enough to tell two engines apart, not enough to prove the weights."""
    root, length = card.get("root"), card.get("max_model_len")
    known = isinstance(length, int) and 0 < length < 2**53
    return ReleaseManifest(
        name=f"{model}@{VERSION}",
        model=ModelFiles(id=model, root=root if isinstance(root, str) else None),
        engine=Engine(version=version, flags={"max-model-len": length} if known else {}),
        notes="discovered from a running engine",
    )


async def _ask(config: ReplicaConfig) -> tuple[list[dict[str, Any]], str | None]:
    """(model cards, vLLM's version) of an engine."""
    url = config.url
    key = None if config.api_key is None else config.api_key.read()
    replica = Replica(url, url, api_key=key, connect_s=TIMEOUT_S)
    try:
        status, body = await fetch(replica, "/v1/models", TIMEOUT_S)
        version_status, version_body = await fetch(replica, "/version", TIMEOUT_S)
    except (ExchangeError, RequestError) as error:
        raise InputError(f"{url}: {error}: is the engine up? `curl {url}/v1/models` should answer") from error
    if status != 200:
        raise InputError(
            f"{url}/v1/models answered with status {status}: expected 200 (an API key? see --upstream-key-env)"
        )
    models = json_object(body).get("data")
    cards = [card for card in models if isinstance(card, dict) and card.get("id")] if isinstance(models, list) else []
    if not cards:
        raise InputError(f"{url}/v1/models names no model: is this an OpenAI-compatible engine?")
    for name in (card["id"] for card in cards):
        if not isinstance(name, str) or re.fullmatch(MODEL_NAME, name) is None:
            raise InputError(
                f"{url}/v1/models names a model {str(name)[:80]!r}, and a name is at most 256 letters, digits and "
                "._~:+/-: start vLLM with --served-model-name"
            )
    version = json_object(version_body).get("version") if version_status == 200 else None
    return cards, version if isinstance(version, str) else None
