"""What a budget may say, and what is refused with its line."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway import config
from gateway.contracts.errors import DocumentError
from gateway.settings.budgets import LARGEST, BudgetConfig, RedisConfig, uncounted
from tests.gateway import builders
from tests.gateway.builders import write_config


def budget(**changes: Any) -> BudgetConfig:
    return BudgetConfig(**{"team": "search", "amount": "10", **changes})


def test_what_is_left_out_has_a_default() -> None:
    made = budget(alerts=["0.8", "0.5"])
    assert (made.per, made.money, made.timezone, made.on_exceeded) == ("month", "list", "UTC", "refuse")
    assert made.alerts == (Decimal("0.8"), Decimal("0.5"))


@pytest.mark.parametrize(
    "amount",
    ["-1", "0", "NaN", "Infinity", "-Infinity", "1e300", str(LARGEST + 1), "0.0000000001", 0.1, True, "ten", None],
)
def test_amounts_that_are_no_amounts_are_refused(amount: object) -> None:
    with pytest.raises(ValidationError):
        budget(amount=amount)


@pytest.mark.parametrize("alert", ["0", "1", "-0.5", "NaN", 0.5])
def test_an_alert_is_a_part_of_the_amount(alert: object) -> None:
    with pytest.raises(ValidationError):
        budget(alerts=[alert])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"team": None}, "whose budget is it"),
        ({"key": "k", "each": "key"}, "`each` divides nothing"),
        ({"each": "team"}, "`each: team` divides nothing"),
        ({"timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"timezone": "../etc/passwd"}, "no time zone"),
        ({"per": "year"}, "'day', 'week', 'month' or 'total'"),
        ({"limit": 3}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        budget(**changes)


def _mistakes(folder: Path, **values: Any) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        config.load(write_config(folder, **values))
    return [f"{mistake.key}: {mistake.message}" for mistake in caught.value.mistakes]


def _prices(folder: Path, **models: Any) -> str:
    (folder / "prices.yaml").write_text(json.dumps({"version": "1", "models": models}))
    return "prices.yaml"


def test_names_that_refer_to_nothing_are_mistakes(tmp_path: Path) -> None:
    prices = _prices(tmp_path, faq={"input": "1", "output": "2"})
    budgets = {
        "a": {"team": "serach", "amount": "1"},
        "b": {"model": "fqa", "amount": "1"},
        "c": {"team": "search", "model": "faq", "amount": "1"},
    }
    found = _mistakes(tmp_path, prices=prices, budgets=budgets, teams={"search": {}})
    assert found == [
        "budgets.a.team: no team 'serach'; the teams here are search",
        "budgets.b.model: no model 'fqa'; the models here are faq",
    ]


def test_a_team_need_not_be_named_where_none_is(tmp_path: Path) -> None:
    prices = _prices(tmp_path, faq={"input": "1", "output": "2"})
    loaded = config.load(write_config(tmp_path, prices=prices, budgets={"a": {"team": "any", "amount": "1"}}))
    assert loaded.config.budgets["a"].team == "any"


def test_a_budget_of_what_has_no_price_could_never_count(tmp_path: Path) -> None:
    prices = _prices(tmp_path, faq="unpriced")
    budgets = {"a": {"model": "faq", "amount": "1"}, "b": {"each": "key", "amount": "1", "money": "gpu"}}
    listed, rented = _mistakes(tmp_path, prices=prices, budgets=budgets)
    assert listed.startswith("budgets.a.money: the model 'faq' has no price in list money, so that nothing would count")
    assert rented.startswith("budgets.b.money: no model has a price for the GPUs of its pools")
    without = _mistakes(tmp_path, budgets={"a": {"model": "faq", "amount": "1"}})
    assert without[0].startswith("budgets.a.money: the model 'faq' has no price")


def test_a_pool_with_a_price_of_its_gpus_counts() -> None:
    made = builders.deployment()
    gpu = {"b": budget(money="gpu", model="faq")}
    assert list(uncounted(gpu, made.config.models, made.prices, {"main"})) == []
    assert len(list(uncounted(gpu, made.config.models, made.prices, {"other"}))) == 1


@pytest.mark.parametrize(
    "url", ["http://h:1", "redis://", "redis://user:secret@h:6379", "redis://h?password=x", "unix://relative"]
)
def test_a_url_of_redis_carries_no_secret(url: str) -> None:
    with pytest.raises(ValidationError):
        RedisConfig(url=url)


def test_the_password_of_redis_lies_where_the_configuration_lies(tmp_path: Path) -> None:
    made = RedisConfig.model_validate({"url": "redis://h:6379/1", "password": {"file": "secret"}})
    anchored = made.anchored(tmp_path)
    assert anchored.password is not None
    assert anchored.password.file == tmp_path / "secret"
    assert RedisConfig(url="unix:///run/redis.sock").anchored(tmp_path) == RedisConfig(url="unix:///run/redis.sock")
