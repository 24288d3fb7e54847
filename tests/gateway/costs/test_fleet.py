"""The replicas of a configuration, with the price that counts for each."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.config import GatewayConfig
from gateway.contracts.errors import InputError
from gateway.costs.fleet import engines, rates, rented, unpriced
from gateway.settings.gpu_price import GpuPrice
from gateway.settings.profile import DEFAULT

MODELS = {"faq": {"live": "faq@1", "releases": [{"manifest": "-", "pool": "main"}]}}
PRICE: dict[str, Any] = {"usd_per_gpu_hour": "2", "gpus": 4}


def _config(**pools: dict[str, Any]) -> GatewayConfig:
    return GatewayConfig.model_validate({"pools": pools, "models": MODELS, "enforcement": {"mode": "off"}})


def test_a_replica_costs_what_its_pool_says_unless_it_says_so_itself() -> None:
    own = {"usd_per_gpu_hour": "3"}
    replicas = [{"url": "http://a"}, {"url": "http://b", "gpu": own}, {"url": "http://c", "name": "big", "ranks": 2}]
    found = engines(_config(main={"replicas": replicas, "gpu": PRICE}))
    prices = {name: (each.price.usd_per_gpu_hour, each.price.gpus) for name, each in found.items() if each.price}
    assert prices == {
        "main-0": (Decimal(2), 4),
        "main-1": (Decimal(3), 1),
        "big.0": (Decimal(2), 4),
        "big.1": (Decimal(2), 4),
    }
    assert {each.pool for each in found.values()} == {"main"}
    assert rented(found)["big.1"] == ("main", GpuPrice(usd_per_gpu_hour=Decimal(2), gpus=4))


def test_without_a_price_a_replica_is_known_and_not_paid_for() -> None:
    config = _config(main={"replicas": [{"url": "http://a"}]}, api={"provider": {"model": "openai/x"}})
    found = engines(config)
    assert set(found) == {"main-0", "api"}
    assert rented(found) == {}
    assert list(unpriced(config)) == ["pool 'main': no `gpu` price for main-0: their GPU cost is unknown, not zero"]


def test_only_replicas_without_a_price_are_told() -> None:
    replicas = [{"url": "http://a"}, {"url": "http://b", "gpu": PRICE}]
    assert [each.count("main-") for each in unpriced(_config(main={"replicas": replicas}))] == [1]
    assert list(unpriced(_config(main={"replicas": replicas, "gpu": PRICE}))) == []


def test_a_step_model_of_its_own_counts(tmp_path: Path) -> None:
    path = tmp_path / "slow.yaml"
    step = "{base_s: 0.01, prefill_token_s: 0, sequence_s: 0, context_token_s: 0}"
    path.write_text(f"name: slow\nkv_tokens: 10\nstep: {step}\n")
    replicas = [{"url": "http://a"}, {"url": "http://b", "gpu": {**PRICE, "profile": str(path)}}]
    found = engines(_config(main={"replicas": replicas, "gpu": PRICE}))
    assert (found["main-0"].profile, found["main-1"].profile.name) == (DEFAULT, "slow")
    path.unlink()
    with pytest.raises(InputError, match=r"slow\.yaml"):
        engines(_config(main={"replicas": replicas}))


def test_a_pool_has_the_rate_of_its_dearest_replica_at_the_dearest_price_to_come() -> None:
    rise = {"from": "2027-01-01T00:00:00Z", "usd_per_gpu_hour": "9"}
    replicas = [{"url": "http://a"}, {"url": "http://b", "gpu": {"usd_per_gpu_hour": "3", "schedule": [rise]}}]
    config = _config(main={"replicas": replicas, "gpu": PRICE}, api={"provider": {"model": "openai/x"}})
    before, after = 1_767_225_600.0, 1_830_000_000.0
    assert {name: round(rate.nano_s * 3600) for name, rate in rates(config, before).items()} == {"main": 9 * 10**9}
    dear = _config(main={"replicas": [{"url": "http://a"}], "gpu": {**PRICE, "usd_per_gpu_hour": "5"}})
    assert round(rates(dear, after)["main"].nano_s * 3600) == 20 * 10**9
