"""`gateway engines`: what running engines say, as a table and as JSON."""

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.stores.bundle import open_stores
from tests.engine import recordings
from tests.gateway.builders import settled, write_config
from tests.gateway.servers import beside, pages

METRICS = recordings.load("metrics").body
CARDS = {
    "object": "list",
    "data": [
        {"id": "faq", "parent": None, "max_model_len": 512},
        {"id": "faq-fr", "parent": "faq", "root": "/adapters/fr"},
    ],
}
WELL: Mapping[str, tuple[int, bytes]] = {
    "/health": (200, b""),
    "/version": (200, b'{"version":"0.32.0"}'),
    "/v1/models": (200, json.dumps(CARDS).encode()),
    "/metrics": (200, METRICS),
}


def engine(answers: Mapping[str, tuple[int, bytes]]) -> AbstractContextManager[str]:
    """The URL of an engine with such pages."""
    return beside(pages(answers))


def engines(*options: str) -> Result:
    return CliRunner().invoke(main, ["engines", *options])


def shown(*options: str) -> tuple[int, Any]:
    result = engines(*options, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_an_engine_that_is_well() -> None:
    with engine(WELL) as url:
        assert shown("--upstream", url) == (
            0,
            [
                {
                    "replica": "upstream-0",
                    "url": url,
                    "up": True,
                    "trouble": None,
                    "asleep": False,
                    "draining": False,
                    "version": "0.32.0",
                    "max_model_len": 512,
                    "models": ["faq"],
                    "adapters": ["faq-fr"],
                    "origins": [["faq-fr", "/adapters/fr"]],
                    "missing": [],
                    "times": None,
                    "cached": None,
                }
            ],
        )
        table = engines("--upstream", url)
        assert table.exit_code == 0
        assert all(word in table.stdout for word in ("upstream-0", url, "0.32.0", "512", "faq-fr"))


def test_the_engines_of_a_configuration(tmp_path: Path) -> None:
    with engine(WELL) as url:
        pools = {"main": {"replicas": [{"url": url}, {"url": url, "name": "second", "drain": True}]}}
        path = str(write_config(tmp_path, pools=pools))
        code, found = shown("--config", path)
        assert (code, [(each["replica"], each["draining"]) for each in found]) == (
            0, [("main-0", False), ("second", True)],
        )  # fmt: skip
        assert "draining" in engines("--config", path).stdout


def test_what_answers_carry_is_known_from_the_ledger(tmp_path: Path) -> None:
    with engine(WELL) as url:
        pools = {"main": {"replicas": [{"url": url, "name": name} for name in ("a", "b", "c")]}}
        path = str(write_config(tmp_path, pools=pools))
        _, before = shown("--config", path)
        assert {each["times"] for each in before} == {None}, "no gateway has run here"
        ledger = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}").ledger
        at = {"started_at": time.time(), "endpoint": "/v1/completions"}
        told = {"engine_prefill_s": 0.1, "cached_tokens": 0}
        ledger.insert([settled("1", **at, replica="a", **told), settled("2", **at, replica="b")])
        _, found = shown("--config", path)
        assert [(each["times"], each["cached"]) for each in found] == [(True, True), (False, False), (None, None)]
        table = engines("--config", path).stdout
        assert "--enable-per-request-metrics" in table
        assert "--enable-prompt-tokens-details" in table


def test_one_that_is_not_up_is_exit_code_1_and_the_others_are_shown() -> None:
    with engine({**WELL, "/health": (503, b"")}) as ill, engine(WELL) as well:
        code, found = shown("--upstream", ill, "--upstream", well)
        assert (code, [each["up"] for each in found]) == (1, [False, True])
        assert found[0]["trouble"] == "/health answers 503"
        table = engines("--upstream", ill, "--upstream", well)
        assert table.exit_code == 1
        assert "no: /health answers 503" in table.stdout
    code, found = shown("--upstream", well)
    assert (code, found[0]["up"], found[0]["version"]) == (1, False, None)


@pytest.mark.parametrize(
    ("page", "asleep", "word"),
    [
        (METRICS.replace(b'sleep_state="awake"} 1.0', b'sleep_state="awake"} 0.0'), True, "yes"),
        (METRICS.replace(b"vllm:engine_sleep_state", b"vllm:other"), None, "unknown"),
    ],
)
def test_whether_it_sleeps_is_yes_no_or_unknown(page: bytes, asleep: bool | None, word: str) -> None:
    with engine({**WELL, "/metrics": (200, page)}) as url:
        code, found = shown("--upstream", url)
        assert (code, found[0]["asleep"]) == (0, asleep)
        assert found[0]["missing"] == ([] if asleep else ["vllm:engine_sleep_state"])
        assert f" {word} " in engines("--upstream", url).stdout


@pytest.mark.parametrize("options", [(), ("--config", "x.yaml", "--upstream", "http://h")])
def test_exactly_one_source_is_named(options: tuple[str, ...]) -> None:
    result = engines(*options)
    assert result.exit_code == 2
    assert "--config FILE" in result.stderr


def test_a_url_that_is_none_is_refused() -> None:
    result = engines("--upstream", "10.0.0.7:8000")
    assert result.exit_code == 1
    assert "--upstream: " in result.stderr


def test_a_key_that_is_not_there_is_named() -> None:
    result = engines("--upstream", "http://127.0.0.1:1", "--upstream-key-env", "NO_SUCH_KEY")
    assert result.exit_code == 1
    assert "$NO_SUCH_KEY" in result.stderr
