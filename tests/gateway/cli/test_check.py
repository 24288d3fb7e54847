"""`gateway check`: what a configuration resolves to, or every mistake in it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.gateway.builders import NO_GPU_PRICE, release, signer, verdict, write_config


def _check(path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["check", str(path), *options])


def _json(path: Path) -> Any:
    result = _check(path, "--json")
    assert (result.exit_code, result.stderr) == (0, NO_GPU_PRICE)
    return json.loads(result.stdout)


def test_a_valid_file_is_shown_resolved(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    found = _json(path)
    assert list(found["releases"]) == ["faq@1", "faq@2"]
    assert found["releases"]["faq@1"] == {"digest": release("faq@1").digest, "pool": "main", "verdict": "none"}
    assert found["config_digest"].startswith("sha256:")
    assert found["config"]["models"]["faq"]["releases"][0]["manifest"] == str(tmp_path / "faq@1.yaml")
    assert found["prices"] == {"version": "none", "currency": "USD"}


def test_a_pool_with_a_price_for_its_gpus_is_no_warning(tmp_path: Path) -> None:
    pool = {"replicas": [{"url": "http://a"}], "gpu": {"usd_per_gpu_hour": "2.50", "gpus": 2}}
    result = _check(write_config(tmp_path, pools={"main": pool}), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["config"]["pools"]["main"]["gpu"]["usd_per_gpu_hour"] == "2.50"


def test_yaml_says_the_same_as_json(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    result = _check(path)
    assert (result.exit_code, yaml.safe_load(result.stdout)) == (0, _json(path))
    assert "is valid" in result.stderr


def test_keys_are_shown_as_the_file_has_them(tmp_path: Path) -> None:
    path = write_config(tmp_path, teams={"search": {"class": "batch", "rpm": 5}})
    team = _json(path)["config"]["teams"]["search"]
    assert (team["class"], team["rpm"], "priority_class" in team) == ("batch", 5, False)


def test_verdicts_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    gate = signer(tmp_path)
    gate.write(tmp_path / "verdicts", verdict(release("faq@1").digest))
    gate.write(tmp_path / "verdicts", verdict(release("faq@2").digest, "fail", name="faq@2"), "two")
    path = write_config(tmp_path, enforcement={"mode": "warn", "trusted_keys": ["gate.pub"]})
    assert {name: each["verdict"] for name, each in _json(path)["releases"].items()} == {
        "faq@1": "pass",
        "faq@2": "fail",
    }


def test_every_mistake_is_printed_with_its_line(tmp_path: Path) -> None:
    path = write_config(tmp_path, listen={"port": "x"}, listn={})
    result = _check(path)
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = path.read_text().splitlines()
    for key in ("port", "listn"):
        at = next(number for number, line in enumerate(lines, 1) if f'"{key}"' in line)
        assert f"{path}: line {at}, " in result.stderr


@pytest.mark.parametrize("missing", ["faq@1.yaml", "gate.pub", "prices.yaml"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, missing: str) -> None:
    signer(tmp_path)
    (tmp_path / "prices.yaml").write_text("version: v\nmodels: {faq: unpriced}\n")
    path = write_config(tmp_path, enforcement={"mode": "warn", "trusted_keys": ["gate.pub"]}, prices="prices.yaml")
    assert _check(path).exit_code == 0
    (tmp_path / missing).unlink()
    result = _check(path)
    assert result.exit_code == 1
    assert missing in result.stderr


def test_prices_with_a_gap_or_an_end_are_told(tmp_path: Path) -> None:
    path = write_config(tmp_path, prices="prices.yaml")
    first, period = '{until: 2020-01-01, input: "1", output: "1"}', '{from: 2020-01-02, input: "1", output: "1"}'
    prices = "version: v\nmodels:\n  faq: [{}]\n"
    (tmp_path / "prices.yaml").write_text(prices.format(f"{first}, {period}"))
    result = _check(path)
    assert (result.exit_code, "line 3, models.faq: no price on 2020-01-01: " in result.stderr) == (1, True)
    (tmp_path / "prices.yaml").write_text(prices.format(first))
    result = _check(path)
    assert (result.exit_code, "'faq' ended: there is none from 2020-01-01 on" in result.stderr) == (1, True)
    (tmp_path / "prices.yaml").write_text(prices.format(period))
    assert _check(path).exit_code == 0


def test_law_9_no_secret_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_KEY", "hunter2")
    replica = {"url": "http://h:1", "api_key": {"env": "ENGINE_KEY"}}
    result = _check(write_config(tmp_path, pools={"main": {"replicas": [replica]}}))
    assert "ENGINE_KEY" in result.stdout
    assert "hunter2" not in result.output


def _two(folder: Path) -> tuple[Path, Path]:
    """(as it runs, as it shall be): another live release."""
    before = write_config(folder).rename(folder / "before.yaml")
    after = write_config(folder)
    after.write_text(after.read_text().replace('"live": "faq@1"', '"live": "faq@2"'))
    return before, after


def test_against_another_file_the_changes_are_printed(tmp_path: Path) -> None:
    before, after = _two(tmp_path)
    result = _check(after, "--against", str(before))
    assert (result.exit_code, result.stdout) == (0, '~ models.faq.live: "faq@1" → "faq@2"\n')
    assert f"{after} is valid; changes against {before}: 1" in result.stderr
    same = _check(after, "--against", str(after))
    assert (same.exit_code, same.stdout) == (0, "")


def test_the_changes_as_json(tmp_path: Path) -> None:
    before, after = _two(tmp_path)
    result = _check(after, "--against", str(before), "--json")
    found = json.loads(result.stdout)
    assert [change["key"] for change in found["changes"]] == ["models.faq.live"]
    assert found["config_digest"] == _json(after)["config_digest"]
    assert found["against_digest"] == _json(before)["config_digest"] != found["config_digest"]


def test_whether_something_changes_is_an_exit_code_for_who_asks(tmp_path: Path) -> None:
    before, after = _two(tmp_path)
    assert _check(after, "--against", str(before), "--exit-code").exit_code == 3
    assert _check(after, "--against", str(after), "--exit-code").exit_code == 0
    assert _check(after, "--exit-code").exit_code == 2


@pytest.mark.parametrize("bad", ["before.yaml", "gateway.yaml"])
def test_a_mistake_in_either_file_is_exit_code_1(tmp_path: Path, bad: str) -> None:
    before, after = _two(tmp_path)
    (tmp_path / bad).write_text("models: 1\n")
    result = _check(after, "--against", str(before), "--exit-code")
    assert (result.exit_code, result.stdout) == (1, "")
    assert bad in result.stderr
