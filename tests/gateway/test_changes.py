"""What changes between two deployments, key by key, and the digest that says whether anything does."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import changes, config
from gateway.changes import Change
from gateway.config import Deployment, PoolConfig
from gateway.settings.replicas import ReplicaConfig
from tests.gateway.builders import release, write_config

PRICES = {"version": "1", "models": {"faq": {"input": "0.20", "output": "0.60"}}}
ENGINE = "http://127.0.0.1:1"
POOL = PoolConfig(replicas=(ReplicaConfig(url="http://c"),)).model_dump(exclude_none=True, exclude={"replicas"})
DEFAULTS = json.dumps(POOL)[1:-1]


def _deployed(folder: Path, prices: dict[str, Any] | None = None, **values: Any) -> Deployment:
    folder.mkdir(exist_ok=True)
    (folder / "prices.yaml").write_text(json.dumps(prices or PRICES))
    return config.load(write_config(folder, prices="prices.yaml", **values))


def _found(tmp_path: Path, prices: dict[str, Any] | None = None, **values: Any) -> list[str]:
    return [str(change) for change in changes.compare(_deployed(tmp_path), _deployed(tmp_path, prices, **values))]


def _models(*names: str, live: str = "faq@1") -> dict[str, Any]:
    return {"faq": {"live": live, "releases": [{"manifest": f"{name}.yaml", "pool": "main"} for name in names]}}


def _pools(*replicas: dict[str, str], **pool: str) -> dict[str, Any]:
    return {"main": {"replicas": list(replicas), **pool}}


def test_the_same_twice_is_no_change(tmp_path: Path) -> None:
    assert _found(tmp_path) == []
    assert changes.summary([]) == "nothing that it serves by"


def test_thousands_of_changes_are_a_line_that_a_log_can_hold() -> None:
    few, many = ([Change("added", ("rules", f"r{at}"), new={"release": "faq@2"}) for at in range(n)] for n in (9, 3000))
    assert changes.summary(few) == "; ".join(map(str, few))
    told = changes.summary(many)
    assert told.startswith(f"{changes.summary(few)}; ")
    assert told.endswith("… (cut: 3000 changes in all)")
    assert len(told) < changes.LOGGED + 100


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({"limits": {"max_body_bytes": 2048}}, ["~ limits.max_body_bytes: 16777216 → 2048"]),
        ({"timeouts": {"idle": 5}}, ["~ timeouts.idle: 60.0 → 5.0"]),
        ({"teams": {"search": {"class": "batch"}}}, ['+ teams.search: {"class": "batch", "weight": 1.0}']),
        ({"listen": {"port": 9090}}, ["~ listen.port: 8080 → 9090 (needs a restart)"]),
        (
            {"database": "sqlite:////var/t.db"},
            ['~ database: "sqlite:///{here}/tollgate.db" → "sqlite:////var/t.db" (needs a restart)'],
        ),
        (
            {"pools": _pools({"url": ENGINE}, {"url": "http://b", "name": "b"})},
            ['+ pools.main.replicas.b: {"url": "http://b", "drain": false}'],
        ),
        ({"pools": _pools({"url": "http://b"})}, [f'~ pools.main.replicas.main-0.url: "{ENGINE}" → "http://b"']),
        (
            {"pools": _pools({"url": ENGINE}, policy="round_robin")},
            ['~ pools.main.policy: "score" → "round_robin"'],
        ),
        (
            {"pools": _pools({"url": ENGINE}) | {"big": {"replicas": [{"url": "http://c"}]}}},
            [f'+ pools.big: {{"replicas": {{"big-0": {{"url": "http://c", "drain": false}}}}, {DEFAULTS}}}'],
        ),
        ({"models": _models("faq@1", "faq@2", live="faq@2")}, ['~ models.faq.live: "faq@1" → "faq@2"']),
        (
            {"models": _models("faq@1")},
            [f'- models.faq.releases.faq@2: {{"digest": "{release("faq@2").digest}", "pool": "main"}}'],
        ),
    ],
)
def test_each_change_is_a_line(tmp_path: Path, values: dict[str, Any], lines: list[str]) -> None:
    assert _found(tmp_path, **values) == [line.replace("{here}", str(tmp_path)) for line in lines]


def _adapted(folder: Path, path: str | None) -> Deployment:
    adapter = {"name": "fr"} if path is None else {"name": "fr", "path": path}
    releases = [
        {"manifest": "faq@1.yaml", "pool": "main"},
        {"manifest": "faq@2.yaml", "pool": "main", "adapter": adapter},
    ]
    return _deployed(folder, models={"faq": {"live": "faq@1", "releases": releases}})


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/fr/2", '~ models.faq.releases.faq@2.adapter.path: "/fr/1" → "/fr/2"'),
        (None, '- models.faq.releases.faq@2.adapter.path: "/fr/1"'),
    ],
)
def test_another_adapter_is_a_change(tmp_path: Path, path: str | None, line: str) -> None:
    before, after = _adapted(tmp_path, "/fr/1"), _adapted(tmp_path, path)
    assert [str(change) for change in changes.compare(before, after)] == [line]
    assert changes.digest(before) != changes.digest(after)


def _ruled(folder: Path, *rules: dict[str, Any]) -> Deployment:
    faq = _models("faq@1", "faq@2")["faq"]
    return _deployed(folder, models={"faq": {**faq, "rules": [*rules, {"id": "default", "release": "live"}]}})


NIGHT = {"id": "night", "when": "local.hour < 6", "release": "faq@2"}
SUNDAY = {"id": "sunday", "when": "local.weekday == 7", "release": "faq@2"}
TEAM = {"id": "team", "when": "key.team == 'a'", "release": "faq@2"}


ADDED = '+ models.faq.rules.team: {"when": "key.team == \'a\'", "release": "faq@2", "before": "%s"}'


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (
            [NIGHT, SUNDAY],
            [NIGHT, {**SUNDAY, "when": "local.weekday >= 6"}],
            ['~ models.faq.rules.sunday.when: "local.weekday == 7" → "local.weekday >= 6"'],
        ),
        ([NIGHT, SUNDAY], [NIGHT, TEAM, SUNDAY], [ADDED % "sunday"]),
        ([], [TEAM], [ADDED % "default"]),
        (
            [NIGHT, SUNDAY],
            [SUNDAY],
            ['- models.faq.rules.night: {"when": "local.hour < 6", "release": "faq@2"}'],
        ),
        (
            [NIGHT, SUNDAY, TEAM],
            [NIGHT, TEAM, SUNDAY],
            ['~ models.faq.rules: ["sunday", "team"] → ["team", "sunday"]'],
        ),
        (
            [NIGHT, SUNDAY],
            [SUNDAY, {**NIGHT, "release": "live"}],
            [
                '~ models.faq.rules.night.release: "faq@2" → "live"',
                '~ models.faq.rules: ["night", "sunday"] → ["sunday", "night"]',
            ],
        ),
    ],
)
def test_rules_are_compared_one_by_one(
    tmp_path: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], lines: list[str]
) -> None:
    before, after = _ruled(tmp_path, *old), _ruled(tmp_path, *new)
    assert [str(change) for change in changes.compare(before, after)] == lines
    assert changes.digest(before) != changes.digest(after)
    assert changes.compare(after, _ruled(tmp_path, *new)) == []


def test_prices_are_compared_by_their_content(tmp_path: Path) -> None:
    dearer = {"version": "2", "models": {"faq": {"input": "0.25", "output": "0.60"}}}
    assert _found(tmp_path, dearer) == ['~ prices.models.faq.input: "0.20" → "0.25"', '~ prices.version: "1" → "2"']
    assert _found(tmp_path, {"version": "1", "models": {"faq": "unpriced"}}) == [
        '~ prices.models.faq: {"input": "0.20", "output": "0.60"} → "unpriced"'
    ]


def test_a_manifest_that_was_edited_in_its_place_is_a_change(tmp_path: Path) -> None:
    before = _deployed(tmp_path)
    (tmp_path / "faq@1.yaml").write_text(json.dumps({"name": "faq@1", "model": {"id": "other"}}))
    (change,) = changes.compare(before, config.load(tmp_path / "gateway.yaml"))
    assert change.at == ("models", "faq", "releases", "faq@1", "digest")


def test_law_9_a_secret_is_named_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_KEY", "hunter2")
    found = _found(tmp_path, pools={"main": {"replicas": [{"url": ENGINE, "api_key": {"env": "ENGINE_KEY"}}]}})
    assert found == ['+ pools.main.replicas.main-0.api_key: {"env": "ENGINE_KEY"}']


def test_a_change_for_programs() -> None:
    assert Change("changed", ("listen", "port"), 1, 2).as_json() == {
        "change": "changed",
        "key": "listen.port",
        "old": 1,
        "new": 2,
        "needs_restart": True,
    }


def test_the_digest_is_that_of_what_the_files_say(tmp_path: Path) -> None:
    digest = changes.digest(_deployed(tmp_path))
    assert digest.startswith("sha256:")
    with (tmp_path / "gateway.yaml").open("a") as file:
        file.write("\n# a comment\n")
    assert changes.digest(config.load(tmp_path / "gateway.yaml")) == digest
    assert changes.digest(_deployed(tmp_path, listen={"port": 9001})) != digest
    assert changes.digest(_deployed(tmp_path, {**PRICES, "version": "2"})) != digest


def test_the_digest_does_not_depend_on_how_the_file_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = changes.digest(_deployed(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert changes.digest(config.load(Path("gateway.yaml"))) == digest
