"""Prices of GPUs: exact, in order, and nothing that cannot be meant."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway import config
from gateway.contracts.errors import DocumentError
from gateway.settings.gpu_price import GpuPrice, Piece
from tests.gateway.builders import NOW, write_config

STEPS = [
    {"from": "2026-11-01T00:00:00+00:00", "usd_per_gpu_hour": "2"},
    {"from": "2026-12-01T00:00:00-03:00", "usd_per_gpu_hour": "1.5"},
]
DECEMBER = 1_796_094_000.0


def _price(**changes: Any) -> GpuPrice:
    return GpuPrice.model_validate({"usd_per_gpu_hour": "2.50", **changes})


def test_without_a_schedule_a_price_holds_for_ever() -> None:
    assert _price().pieces(NOW) == [Piece(NOW, None, Decimal("2.50"))]


def test_each_step_holds_from_its_moment_on() -> None:
    price = _price(schedule=STEPS)
    assert price.pieces(NOW) == [Piece(NOW, DECEMBER, Decimal(2)), Piece(DECEMBER, None, Decimal("1.5"))]
    assert price.pieces(DECEMBER) == [Piece(DECEMBER, None, Decimal("1.5"))]
    first = price.pieces(1.0)
    assert [each.usd_per_gpu_hour for each in first] == [Decimal("2.50"), Decimal(2), Decimal("1.5")]
    assert [each.since for each in first[1:]] == [each.until for each in first[:-1]]


@pytest.mark.parametrize("wrong", [-1, "-0.01", 2.5, "NaN", "Infinity", "-Infinity", "1e9", "10001", True, None, "two"])
def test_a_price_that_cannot_be_meant_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError, match="usd_per_gpu_hour"):
        GpuPrice.model_validate({"usd_per_gpu_hour": wrong})
    with pytest.raises(ValidationError, match="usd_per_gpu_hour"):
        _price(schedule=[{**STEPS[0], "usd_per_gpu_hour": wrong}])


def test_a_fraction_below_a_nano_is_refused() -> None:
    with pytest.raises(ValidationError, match="9 decimal places"):
        _price(usd_per_gpu_hour="0.0000000001")


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpus": 0},
        {"gpus": -1},
        {"gpus": 1025},
        {"gpus": 1.5},
        {"schedule": [STEPS[1], STEPS[0]]},
        {"schedule": [STEPS[0], STEPS[0]]},
        {"schedule": [{**STEPS[0], "from": "2026-11-01T00:00:00"}]},
        {"schedule": [{**STEPS[0], "from": 20261101}]},
        {"currency": "EUR"},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"Input|come one after the other|not permitted|expected a moment"):
        _price(**wrong)


def test_a_missing_price_is_no_price() -> None:
    with pytest.raises(ValidationError, match="usd_per_gpu_hour"):
        GpuPrice.model_validate({"gpus": 2})


def test_a_profile_that_is_not_there_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    lost = {"usd_per_gpu_hour": "2", "profile": "lost.yaml"}
    pools = {"main": {"replicas": [{"url": "http://a"}, {"url": "http://b", "gpu": lost}], "gpu": lost}}
    with pytest.raises(DocumentError) as caught:
        config.load(write_config(tmp_path, pools=pools))
    keys = {mistake.key for mistake in caught.value.mistakes}
    assert keys == {"pools.main.gpu.profile", "pools.main.replicas.1.gpu.profile"}
    assert "lost.yaml" in str(caught.value)


def test_a_profile_lies_beside_the_file_that_names_it(tmp_path: Path) -> None:
    step = "{base_s: 0.01, prefill_token_s: 0, sequence_s: 0, context_token_s: 0}"
    (tmp_path / "slow.yaml").write_text(f"name: slow\nkv_tokens: 10\nstep: {step}\n")
    gpu = {"usd_per_gpu_hour": "2", "profile": "slow.yaml"}
    pools = {"main": {"replicas": [{"url": "http://a", "gpu": gpu}], "gpu": gpu}}
    pool = config.load(write_config(tmp_path, pools=pools)).config.pools["main"]
    for price in (pool.gpu, pool.replicas[0].gpu):
        assert price is not None
        profile = price.step_model()
        assert profile is not None
        assert profile.name == "slow"


def test_a_provider_has_no_gpus_of_ours(tmp_path: Path) -> None:
    pools = {"main": {"provider": {"model": "openai/x"}, "gpu": {"usd_per_gpu_hour": "2"}}}
    with pytest.raises(DocumentError, match="`gpu`: for replicas alone"):
        config.load(write_config(tmp_path, pools=pools))
