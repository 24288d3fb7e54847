"""`gateway budgets`: what each budget has left, for people and for programs."""

import asyncio
import json
import math
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from gateway import config as configuration
from gateway.cli import main
from gateway.policy.budgets import Claim, compiled
from gateway.settings.budgets import RedisConfig
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.redis_budgets import RedisBook
from tests.gateway.builders import NOW, settled, write_config
from tests.gateway.redis_server import redis_server

BUDGETS = {
    "all-time": {"model": "faq", "amount": "10", "per": "total"},
    "keys": {"each": "key", "amount": "2", "per": "total"},
    "today": {"team": "search", "amount": "3", "per": "day", "timezone": "America/Sao_Paulo"},
}


def stores(folder: Path, budgets: dict[str, Any], **changes: Any) -> Stores:
    prices = {"version": "1", "models": {"faq": {"input": "1", "output": "2"}}}
    (folder / "prices.yaml").write_text(json.dumps(prices))
    path = write_config(folder, prices="prices.yaml", budgets=budgets, **changes)
    return open_stores(configuration.load(path).config.database)


def run(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["budgets", "--config", str(folder / "gateway.yaml"), *options])


def told(folder: Path) -> dict[str, dict[str, Any]]:
    result = run(folder, "--json")
    assert result.exit_code == 0, result.output
    return {f"{each['budget']} {each['of']}": each for each in json.loads(result.stdout)["budgets"]}


def test_what_is_spent_and_left_comes_from_the_ledger(tmp_path: Path) -> None:
    opened = stores(tmp_path, BUDGETS)
    opened.ledger.insert([settled("tg-1", cost="1.5", started_at=NOW), settled("tg-2", key_id="l", cost="2.25")])
    found = told(tmp_path)
    assert {name: (each["spent"], each["left"]) for name, each in found.items()} == {
        "all-time model=faq": ("3.75", "6.25"),
        "keys key=k": ("1.50", "0.50"),
        "keys key=l": ("2.25", "-0.25"),
        "today team=search": ("0.00", "3.00"),
    }
    assert found["all-time model=faq"]["resets_at"] == "never"
    assert found["today team=search"]["resets_at"].endswith("T03:00:00Z")
    assert {each["reserved"] for each in found.values()} == {None}
    page = run(tmp_path).output
    assert "all-time" in page
    assert "6.25" in page


def test_a_configuration_without_budgets_says_so(tmp_path: Path) -> None:
    stores(tmp_path, {})
    assert run(tmp_path).output == "this configuration has no budgets: name some under `budgets`\n"
    assert told(tmp_path) == {}


def test_without_a_database_there_is_nothing_to_tell(tmp_path: Path) -> None:
    stores(tmp_path, BUDGETS)
    (tmp_path / "tollgate.db").unlink()
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "no database" in result.output


def test_redis_tells_what_running_requests_hold(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        opened = stores(tmp_path, BUDGETS, redis={"url": server.url})
        opened.ledger.insert([settled("tg-1", cost="1.5")])
        made = compiled(configuration.load(tmp_path / "gateway.yaml"), {})
        assert made is not None
        counter = made.of("all-time", "", NOW)

        async def hold() -> None:
            book = RedisBook(RedisConfig(url=server.url, timeout=5), lambda *each: None)
            await book.load(counter.id, 1_500_000_000, 1.0, math.inf)
            await book.reserve("1", [Claim(counter.id, counter.limit, 250_000_000)], 60.0)
            await book.close()

        asyncio.run(hold())
        found = told(tmp_path)["all-time model=faq"]
        assert (found["spent"], found["reserved"], found["left"]) == ("1.50", "0.25", "8.25")
    # Redis is away: what the ledger knows is told all the same.
    result = run(tmp_path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["budgets"][0]["reserved"] is None
    assert "reserved is not known: Redis" in result.stderr
