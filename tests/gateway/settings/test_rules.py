"""Rules in a configuration: every mistake is told with its line, before anything serves."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway import config as configuration
from gateway.contracts.errors import DocumentError
from gateway.settings.rules import RuleConfig, release_mistakes
from tests.gateway.builders import write_config
from tests.gateway.ruled import DEFAULT, PEAK, REGIONS

HOLDS = {"id": "a", "when": "true"}
NOON = "2026-11-27T12:00Z"


def _written(folder: Path, rules: list[dict[str, Any]], **changes: Any) -> Path:
    models = {
        "faq": {
            "live": "faq@1",
            "releases": [{"manifest": f"{name}.yaml", "pool": "main"} for name in ("faq@1", "faq@2")],
            "rules": rules,
        }
    }
    values = {"headers": ["x-tier"], "regions": REGIONS, "windows": {"peak": PEAK}}
    return write_config(folder, models=models, **{**values, **changes})


def _mistakes(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(DocumentError) as caught:
        configuration.load(path)
    lines = path.read_text().splitlines()
    for mistake in caught.value.mistakes:
        assert mistake.key.rpartition(".")[2] in lines[mistake.line - 1] or mistake.key[-1].isdigit()
    return [(mistake.key, mistake.message) for mistake in caught.value.mistakes]


def test_rules_without_a_mistake(tmp_path: Path) -> None:
    rules = [
        {"id": "peak", "when": '"peak" in local.windows', "release": "faq@2"},
        {"id": "friday", "from": "2026-11-27T00:00-03:00", "until": "2026-11-28T00:00-03:00", "release": "faq@2"},
        DEFAULT,
    ]
    found = configuration.load(_written(tmp_path, rules)).config.models["faq"].rules
    assert [rule.id for rule in found] == ["peak", "friday", "default"]
    assert [rule.always for rule in found] == [False, False, True]
    assert set(found[1].model_dump()) == {"id", "when", "from", "until", "release"}


@pytest.mark.parametrize(
    ("rules", "key", "said"),
    [
        ([{"id": "a", "when": "true"}], "0.id", "the last rule is called 'default' and has no condition"),
        ([{**DEFAULT, "when": "true"}], "0", "the last rule always holds: leave `when`"),
        ([DEFAULT, DEFAULT], "0.id", "'default' comes last"),
        ([{"id": "a"}, DEFAULT], "0", "'a' always holds, and hides the rules after it"),
        ([{"id": "a", "when": "true"}, {"id": "a", "when": "false"}, DEFAULT], "1.id", "two rules are called 'a'"),
        ([{**HOLDS, "release": "faq@9"}, DEFAULT], "0.release", "neither `live` nor one of its releases: faq@1, faq@2"),
        ([{"id": "a", "when": "local.hours == 1"}, DEFAULT], "0.when", "`local` has no member 'hours'"),
        ([{"id": "a", "when": "1 +"}, DEFAULT], "0.when", "not a condition in CEL"),
        ([{"id": "A B", "when": "true"}, DEFAULT], "0.id", "should match pattern"),
        ([{**HOLDS, "then": "x"}, DEFAULT], "0.then", "unknown key 'then': did you mean 'when'?"),
        ([{**HOLDS, "fron": "x"}, DEFAULT], "0.fron", "did you mean 'from'?"),
        ([{"id": "a", "from": "2026-11-27T00:00"}, DEFAULT], "0.from", "timezone"),
        ([{"id": "a", "from": 20270101}, DEFAULT], "0.from", "expected a moment such as 2026-11-27T00:00-03:00, found"),
        ([{"id": "a", "until": "20270101"}, DEFAULT], "0.until", "expected a moment such as 2026-11-27T00:00-03:00"),
        ([{"id": "a", "from": "0001-01-01T00:00+14:00"}, DEFAULT], "0.from", "between the years 1 and 9999 in UTC"),
        ([{"id": "a", "from": NOON, "until": NOON}, DEFAULT], "0", "`until` comes after `from`"),
    ],
)
def test_what_is_wrong_with_rules(tmp_path: Path, rules: list[dict[str, Any]], key: str, said: str) -> None:
    found = _mistakes(_written(tmp_path, rules))
    assert f"models.faq.rules.{key}" in [each for each, _ in found]
    assert said in dict(found)[f"models.faq.rules.{key}"]


def test_the_regions_are_looked_at_too(tmp_path: Path) -> None:
    ((key, said),) = _mistakes(_written(tmp_path, [DEFAULT], regions={**REGIONS, "default": "AR"}))
    assert key == "regions.default"
    assert "those here are BR-SP, US-CA" in said


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "cookie"])
def test_no_rule_reads_a_secret(tmp_path: Path, header: str) -> None:
    ((key, said),) = _mistakes(_written(tmp_path, [DEFAULT], headers=[header]))
    assert key == "headers"
    assert "carries a secret" in said


def test_a_condition_that_comes_often_is_told_at_each_place(tmp_path: Path) -> None:
    rules = [{"id": f"r{at}", "when": "nothing == 1"} for at in range(3)]
    assert [key for key, _ in _mistakes(_written(tmp_path, [*rules, DEFAULT]))] == [
        f"models.faq.rules.{at}.when" for at in range(3)
    ]


def test_live_is_a_release_of_every_model() -> None:
    assert list(release_mistakes("faq", [RuleConfig(id="default")], [])) == []
    with pytest.raises(ValidationError):
        RuleConfig(id="default", release=None)  # type: ignore[arg-type]


def test_what_was_read_is_what_is_written(tmp_path: Path) -> None:
    path = _written(tmp_path, [{"id": "a", "from": "2026-11-27T00:00-03:00", "release": "faq@2"}, DEFAULT])
    dumped = configuration.load(path).config.model_dump(mode="json")["models"]["faq"]["rules"][0]
    assert json.loads(json.dumps(dumped))["from"] == "2026-11-27T00:00:00-03:00"
