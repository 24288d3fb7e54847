"""`gateway explain`: which release answers at a moment in a region, and what every rule comes to."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.policy.inputs import HEADER_BYTES
from tests.gateway.builders import write_config
from tests.gateway.ruled import DEFAULT, PEAK, REGIONS

RULES = [
    {"id": "friday", "from": "2026-11-27T00:00-03:00", "until": "2026-12-01T00:00-03:00", "release": "faq@2"},
    {"id": "paid", "when": 'int(headers["x-tier"]) > 3', "release": "faq@2"},
    {"id": "sales", "when": 'key.team == "sales" || req.endpoint == "/v1/messages"', "release": "faq@2"},
    {"id": "eve", "when": '"Christmas Eve" in local.holidays && "peak" in local.windows', "release": "faq@2"},
    DEFAULT,
]  # fmt: skip
AT = ("--at", "2026-12-24T18:30-03:00", "--region", "BR-SP")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    releases = [{"manifest": f"{name}.yaml", "pool": "main"} for name in ("faq@1", "faq@2")]
    (tmp_path / "plain@1.yaml").write_text(json.dumps({"name": "plain@1", "model": {"id": "m"}}))
    models = {
        "faq": {"live": "faq@1", "releases": releases, "rules": RULES},
        "plain": {"live": "plain@1", "releases": [{"manifest": "plain@1.yaml", "pool": "main"}]},
    }
    seasons = {"summer": {"from": "12-21", "to": "03-20"}}
    return write_config(
        tmp_path, headers=["x-tier"], regions=REGIONS, windows={"peak": PEAK}, seasons=seasons, models=models
    )


def _explain(path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["explain", "--config", str(path), *options])


def _json(path: Path, *options: str) -> Any:
    result = _explain(path, *options, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_the_answer_of_the_issue(path: Path) -> None:
    found = _json(path, *AT)
    assert (found["at"], found["region"]) == ("2026-12-24T21:30Z", "BR-SP")
    assert (found["local"]["hour"], found["local"]["holidays"], found["local"]["seasons"]) == (
        18,
        ["Christmas Eve"],
        ["summer"],
    )
    faq, plain = found["models"]
    assert (faq["rule"], faq["release"], faq["by"]) == ("eve", "faq@2", "rule")
    assert [(each["rule"], each["result"]) for each in faq["rules"]] == [
        ("friday", "not in its time"), ("paid", "error"), ("sales", "false"), ("eve", "true"), ("default", "true")
    ]  # fmt: skip
    assert faq["inputs"]["local.windows"] == ["peak"]
    assert (plain["rule"], plain["release"], plain["by"], plain["rules"]) == (None, "plain@1", "live", [])


def test_the_same_for_people(path: Path) -> None:
    out = _explain(path, *AT).stdout
    assert "BR-SP: Thursday 2026-12-24 18:30 local time (2026-12-24T21:30Z)" in out
    assert "holidays: Christmas Eve" in out
    assert "faq: faq@2, since the rule 'eve' wins" in out
    assert (
        "plain: plain@1 (live in this file; a promotion may have put another in its place), since it has no rules"
        in out
    )
    (error,) = [line for line in out.splitlines() if line.strip().startswith("paid")]
    assert "counts as false: RuntimeError" in error
    (over,) = [line for line in out.splitlines() if line.strip().startswith("friday")]
    assert "from 2026-11-27 00:00:00-03:00 until 2026-12-01 00:00:00-03:00" in over


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--team", "sales"), "sales"),
        (("--header", "X-Tier=5"), "paid"),
        (("--header", "x-tier=2"), "eve"),
        (("--endpoint", "/v1/messages"), "sales"),
        (("--region", "US-CA"), "default"),
        (("--at", "2026-11-27T00:00-03:00"), "friday"),
        (("--at", "2026-12-24T23:00"), "default"),  # wall time of the region
        (("--at", "2026-12-24T22:59"), "eve"),
    ],
)
def test_what_is_asked_decides(path: Path, options: tuple[str, ...], rule: str) -> None:
    assert _json(path, *AT, "--model", "faq", *options)["models"][0]["rule"] == rule


def test_a_header_is_read_as_a_request_s_is(path: Path) -> None:
    wide = "x" * (HEADER_BYTES + 1)
    for value, read in (("g\udcff", "g\ufffd"), ("日本", "日本"), (wide, wide[:-1])):
        told = _json(path, *AT, "--model", "faq", "--header", f"x-tier={value}")
        assert told["models"][0]["inputs"]["headers.x-tier"] == read


def test_without_a_moment_it_is_now(path: Path) -> None:
    assert _json(path)["region"] == "BR-SP"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--model", "fax"), 1, "no model 'fax' in this configuration; those here are faq, plain"),
        (("--region", "AR"), 1, "no region 'AR' in this configuration; those here are BR-SP, US-CA"),
        (("--header", "x-team=a"), 1, "no rule may read 'x-team'; the configuration admits x-tier"),
        (("--header", "x-tier"), 2, "expected NAME=VALUE, found 'x-tier'"),
        (("--team", "g\udcff"), 2, "expected 1 to 128 printable characters"),
        (("--endpoint", "/v1/chat"), 2, "'/v1/chat' is not one of '/v1/chat/completions', '/v1/completions'"),
        (("--at", "tomorrow"), 2, "expected a moment such as 2026-12-24T18:30-03:00"),
        (("--at", "1066-10-14T09:00"), 2, "expected a year from 1971 to 2199"),
        (("--at", "2026-03-08T02:30", "--region", "US-CA"), 1, "in US-CA clocks go forward over 2026-03-08T02:30:00"),
    ],
)
def test_what_cannot_be_explained_is_told(path: Path, options: tuple[str, ...], code: int, said: str) -> None:
    result = _explain(path, *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in " ".join(result.stderr.split())
