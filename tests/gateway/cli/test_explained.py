"""`gateway explain REQUEST_ID`: a request of the ledger, decided again from what was recorded."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway import changes, config
from gateway.cli import main
from gateway.policy.decisions import Decided, Routed, Ruled, encode
from gateway.policy.routing import POLICIES, Ask, Candidate
from gateway.stores.bundle import Stores, open_stores
from tests.gateway.builders import settled, write_config

RULES = [
    {"id": "night", "when": "local.hour < 6", "release": "faq@2"},
    {"id": "default", "release": "live"},
]
SEEN = (Candidate("r0", 1.0, 3, 900, 0, 0.5, 0), Candidate("r1", 1.0, 1, 400, 512, None, 0))
ASK = Ask(tokens=600, turn=7, draw=12)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    releases = [{"manifest": f"{name}.yaml", "pool": "main"} for name in ("faq@1", "faq@2")]
    return write_config(tmp_path, models={"faq": {"live": "faq@1", "releases": releases, "rules": RULES}})


@pytest.fixture
def stores(path: Path) -> Stores:
    return open_stores(f"sqlite:///{path.parent / 'tollgate.db'}")


def _row(stores: Stores, path: Path, *, rule: str = "night", position: int | None = None, **changed: Any) -> None:
    choice = POLICIES["score"](SEEN, ASK)
    digest = changes.digest(config.load(path))
    ruled = [Ruled("faq", rule, "faq@2", "UTC", {"region": "UTC", "local.hour": 3})]
    route = Routed("score", SEEN, ASK, choice.position if position is None else position, choice.reason)
    decided = Decided(**{"config": digest, "ruled": ruled, "routes": [route], "queued_s": 0.25, **changed})
    stores.ledger.insert([settled("tg-1", replica="r1", attempts=2, decision=encode(decided))])


def _explain(*options: str) -> Result:
    return CliRunner().invoke(main, ["explain", "tg-1", *options])


def test_everything_that_was_decided_is_told_and_comes_out_the_same(stores: Stores, path: Path) -> None:
    _row(stores, path)
    result = _explain("--config", str(path))
    assert result.exit_code == 0, result.output
    for told in (
        "waited 0.250 s",
        "the rule 'night' of 'faq' won in UTC, for faq@2",
        "local.hour = 3",
        "choice 1: policy score, 'r1' because of prefix no_kv",
        "a prompt of about 600 tokens",
        "1 of 2 attempts had one replica to go to",
    ):
        assert told in result.stdout
    assert result.stdout.count("decided again: the same") == 2
    assert "another configuration" not in result.stdout
    assert "attempt 1" not in result.stdout  # it may be the second one: the first had nowhere else to go
    (chosen,) = (line for line in result.stdout.splitlines() if "chosen" in line)
    assert "r1" in chosen
    assert "unknown" in chosen


def test_programs_get_every_term(stores: Stores, path: Path) -> None:
    _row(stores, path)
    found = json.loads(_explain("--config", str(path), "--json").stdout)
    assert (found["same"], found["queued_s"]) == (True, 0.25)
    assert (found["rules"][0]["again"], found["rules"][0]["again_release"]) == ("night", "faq@2")
    (route,) = found["routes"]
    assert (route["chosen"], route["again"]) == ("r1", "r1")
    assert [each["cached"] for each in route["candidates"]] == [0, 512]
    assert route["candidates"][1]["score"] > route["candidates"][0]["score"]


def test_another_answer_is_said_and_fails(stores: Stores, path: Path) -> None:
    _row(stores, path, position=0)
    result = _explain("--config", str(path))
    assert result.exit_code == 1
    assert "NOT the same, but 'r1': another version of the policy decided it" in result.stdout


def test_rules_that_changed_since_are_said(stores: Stores, path: Path) -> None:
    _row(stores, path, rule="evening", config="sha256:old")
    result = _explain("--config", str(path))
    assert result.exit_code == 1
    assert "NOT the same, but night, for faq@2" in result.stdout
    assert "the request's was sha256:old" in result.stdout


@pytest.mark.parametrize("recorded", ["faq@1", "live"])
def test_a_rule_that_names_another_release_by_now_is_said(stores: Stores, path: Path, recorded: str) -> None:
    """The rule itself is the same one. What `live` stood for then is not compared: the rule named `live`."""
    _row(stores, path, ruled=[Ruled("faq", "night", recorded, "UTC", {"region": "UTC", "local.hour": 3})])
    result = _explain("--config", str(path))
    assert result.exit_code == 1
    assert "NOT the same, but night, for faq@2" in result.stdout
    told = _explain("--config", str(path), "--json")
    (rule,) = json.loads(told.stdout)["rules"]
    assert (told.exit_code, rule["release"], rule["again"], rule["again_release"]) == (1, recorded, "night", "faq@2")


def test_a_rule_that_still_names_what_is_live_is_the_same(stores: Stores, path: Path) -> None:
    _row(stores, path, ruled=[Ruled("faq", "default", "live", "UTC", {"region": "UTC", "local.hour": 12})])
    result = _explain("--config", str(path))
    assert (result.exit_code, result.stdout.count("decided again: the same")) == (0, 2)


def test_what_the_new_rules_cannot_be_asked_is_said(stores: Stores, path: Path) -> None:
    _row(stores, path, ruled=[Ruled("faq", "night", "faq@2", "UTC", {"region": "UTC"})])
    result = _explain("--config", str(path))
    assert result.exit_code == 1
    assert "local.hour" in result.stdout


def test_without_a_configuration_the_choice_alone_is_made_again(stores: Stores, path: Path) -> None:
    _row(stores, path)
    result = _explain()
    assert result.exit_code == 0
    assert "--config FILE decides it again" in result.stdout


def test_a_request_with_nothing_to_decide_says_so(stores: Stores) -> None:
    stores.ledger.insert([settled("tg-1", replica="r0")])
    result = _explain()
    assert result.exit_code == 0
    assert "1 of 1 attempts had one replica to go to: there was nothing to choose" in result.stdout


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        (["explain", "tg-9"], 1, "no request 'tg-9' in this ledger"),
        (["explain", "\udcff"], 2, r"expected 1 to 128 printable characters, found '\udcff'"),
        (["explain", "tg-1", "--region", "UTC"], 2, "leave out --region"),
        (["explain"], 2, "--config FILE"),
    ],
)
def test_mistakes_are_named(stores: Stores, options: list[str], code: int, expected: str) -> None:
    result = CliRunner().invoke(main, options)
    assert (result.exit_code, expected in result.stderr) == (code, True), result.output
