"""Rules on the way of a request: the release that they name answers, and one that fails is a number, not an error."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.config import Deployment, ModelConfig, Release, ReleaseConfig
from gateway.contracts.release import ModelFiles, ReleaseManifest
from gateway.settings.rules import RuleConfig
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.serving import Gateway, deployment, serving

BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two three"}]}
PATH = "/v1/chat/completions"
DEFAULT = {"id": "default"}


def _deployed(url: str, rules: Mapping[str, list[dict[str, Any]]], spare: str | None = None) -> Deployment:
    """The models of `rules`, each with the releases 1 (live) and 2; `backup` runs in the pool `spare`."""
    made = deployment({"main": [url], **({} if spare is None else {"spare": [spare]})}, served_model=None)
    releases, models = {}, {}
    for model, of_model in rules.items():
        pool = "spare" if model == "backup" else "main"
        for number in (1, 2):
            manifest = ReleaseManifest(name=f"{model}@{number}", model=ModelFiles(id=model))
            releases[manifest.name] = Release(manifest.name, model, manifest.digest(), manifest, pool)
        models[model] = ModelConfig(
            live=f"{model}@1",
            releases=tuple(ReleaseConfig(manifest=Path("-"), pool=pool) for _ in (1, 2)),
            fallback=("backup",) if model == "faq" and "backup" in rules else (),
            rules=tuple(RuleConfig.model_validate(each) for each in of_model),
        )
    config = made.config.model_copy(update={"models": models, "headers": ("x-tier",)})
    return replace(made, config=config, releases=releases)


async def _ask(gateway: Gateway, key: str, **headers: str) -> raw.Answer:
    told = {"authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await raw.post(gateway.url, PATH, json.dumps(BODY).encode(), told)


async def test_the_release_that_a_rule_names_answers(tmp_path: Path) -> None:
    rules = {"faq": [{"id": "gold", "when": 'headers["x-tier"] == "gold"', "release": "faq@2"}, DEFAULT]}
    async with Engine("faq") as engine, serving(_deployed(engine.url, rules), tmp_path) as (gateway, key, _):
        plain, gold = await _ask(gateway, key), await _ask(gateway, key, x_tier="gold")
        rows = await gateway.rows(2)
    assert (plain.header("x-tollgate-release"), gold.header("x-tollgate-release")) == ("faq@1", "faq@2")
    assert sorted(row.release for row in rows) == ["faq@1", "faq@2"]


async def test_a_rule_that_fails_does_not_hold_and_is_counted(tmp_path: Path) -> None:
    rules = {"faq": [{"id": "paid", "when": 'int(headers["x-tier"]) > 3', "release": "faq@2"}, DEFAULT]}
    async with Engine("faq") as engine, serving(_deployed(engine.url, rules), tmp_path) as (gateway, key, _):
        answers = [await _ask(gateway, key, x_tier=tier) for tier in ("gold", "gold", "5")]
        page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
    assert [(each.status, each.header("x-tollgate-release")) for each in answers] == [
        (200, "faq@1"), (200, "faq@1"), (200, "faq@2")
    ]  # fmt: skip
    assert 'tollgate_rule_errors_total{model="faq",rule="paid"} 2.0' in page


async def test_a_fallback_answers_by_its_own_rules(tmp_path: Path) -> None:
    rules = {
        "faq": [DEFAULT],
        "backup": [{"id": "of-faq", "when": 'req.model == "faq"', "release": "backup@2"}, DEFAULT],
    }
    async with Engine("faq") as dead, Engine("backup") as spare:
        await dead.stop()
        async with serving(_deployed(dead.url, rules, spare.url), tmp_path) as (gateway, key, _):
            answer = await _ask(gateway, key)
    assert (answer.status, answer.header("x-tollgate-release")) == (200, "backup@2")
