"""`gateway releases`: what serves, what may serve, and what is put live."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.gateway.builders import Signer, release, signer, verdict, write_config


@pytest.fixture
def gate(tmp_path: Path) -> Signer:
    return signer(tmp_path)


def _run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["releases", *arguments, "--config", str(config)])


def _listed(config: Path) -> dict[str, Any]:
    result = _run(config, "list", "--json")
    assert result.exit_code == 0, result.output
    return {each["release"]: each for each in json.loads(result.stdout)}


def _asking(folder: Path, mode: str) -> Path:
    return write_config(folder, enforcement={"mode": mode, "trusted_keys": ["gate.pub"], "verdicts": "verdicts"})


def test_without_enforcement_everything_may_serve(tmp_path: Path) -> None:
    found = _listed(write_config(tmp_path))
    assert {name: (each["live"], each["verdict"], each["refusal"]) for name, each in found.items()} == {
        "faq@1": (True, "not asked for", None),
        "faq@2": (False, "not asked for", None),
    }
    assert found["faq@1"]["digest"] == release("faq@1").digest


@pytest.mark.usefixtures("gate")
def test_a_refusal_is_shown(tmp_path: Path) -> None:
    config = _asking(tmp_path, "require")
    assert _listed(config)["faq@1"]["verdict"] == "none"
    assert "evals gate" in _listed(config)["faq@1"]["refusal"]
    table = _run(config, "list").stdout
    assert "faq@2" in table
    assert "live" in table


def test_require_promotes_what_has_a_verdict_alone(tmp_path: Path, gate: Signer) -> None:
    config = _asking(tmp_path, "require")
    result = _run(config, "promote", "faq@2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no verdict" in result.stderr
    assert _listed(config)["faq@1"]["live"]
    far = {"expires": verdict().predicate.expires.replace(year=2199)}
    gate.write(tmp_path / "verdicts", verdict(release("faq@2").digest, name="faq@2", **far))
    result = _run(config, "promote", "faq@2")
    assert (result.exit_code, result.stdout) == (0, f"faq now serves faq@2 ({release('faq@2').digest})\n")
    found = _listed(config)
    assert (found["faq@1"]["live"], found["faq@2"]["live"], found["faq@2"]["verdict"]) == (False, True, "pass")


@pytest.mark.usefixtures("gate")
def test_warn_promotes_without_a_verdict(tmp_path: Path) -> None:
    config = _asking(tmp_path, "warn")
    assert _run(config, "promote", "faq@2").exit_code == 0
    assert _listed(config)["faq@2"]["live"]


def test_an_unknown_release_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    result = _run(write_config(tmp_path), "promote", "faq@9")
    assert result.exit_code == 1
    assert "faq@1, faq@2" in result.stderr


def test_a_configuration_is_needed() -> None:
    assert CliRunner().invoke(main, ["releases", "list"]).exit_code == 2
    assert CliRunner().invoke(main, ["releases", "promote", "faq@1"]).exit_code == 2
