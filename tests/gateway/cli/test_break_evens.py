"""`gateway costs break-even`: what the formula says of a ledger, and why it says nothing where something is unknown."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import config as configuration
from gateway.cli import cost_files, main
from gateway.cli.break_evens import Row, rows, sheet
from gateway.contracts.prices import PER
from gateway.stores.bundle import open_stores
from tests.gateway.builders import NOW, write_config
from tests.gateway.costs_ledger import PRICES, configure, fill

PRICE_FILE = {
    "version": PRICES.version,
    "models": {"support": {"input": "0.20", "output": "0.60"}, "vectors": "unpriced"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.yaml").write_text(json.dumps(PRICE_FILE))
    configure(tmp_path, prices="prices.yaml")
    return tmp_path


def _rows(folder: Path) -> dict[str, Row]:
    path = folder / "gateway.yaml"
    stores = open_stores(f"sqlite:///{folder / 'tollgate.db'}")
    ask = cost_files.asked(stores, path, (), {}, None, None, NOW)
    return {each.model: each for each in rows(ask, configuration.load(path))}


def _run(*options: str) -> Any:
    return CliRunner().invoke(main, ["costs", "break-even", *options])


def test_it_is_price_by_revenue_at_the_peak(folder: Path) -> None:
    fill(open_stores(f"sqlite:///{folder / 'tollgate.db'}"), NOW, 3)
    found = _rows(folder)["support"]
    peak, listed = found.observed.peak, found.observed.list_per_million
    assert peak is not None
    assert listed is not None
    assert found.observed.utilisation == (Decimal("2.49") * 2 / (listed * peak / PER)).quantize(Decimal("0.000001"))
    assert Decimal("0.20") < listed < Decimal("0.60")
    assert found.busy is not None
    assert 0 < found.busy < 1


def test_what_is_unknown_is_said_and_not_zero(folder: Path) -> None:
    fill(open_stores(f"sqlite:///{folder / 'tollgate.db'}"), NOW, 3)
    support, vectors = (_rows(folder)[name] for name in ("support", "vectors"))
    assert (support.profile.utilisation, vectors.observed.utilisation) == (None, None)
    assert "no profile of its engine" in support.reasons
    assert "no list price" in vectors.reasons
    told = {line[1]: line for line in sheet([support, vectors]).rows}
    assert told["vectors"][4:7] == ["unknown", "unknown", "unknown"]


def test_a_pool_that_nobody_used_is_listed(folder: Path) -> None:
    found = json.loads(_run("--config", "gateway.yaml", "--database", "sqlite:///tollgate.db", "--json").stdout or "{}")
    assert found == {}, "there is no ledger yet"
    open_stores(f"sqlite:///{folder / 'tollgate.db'}")
    listed = json.loads(_run("--config", "gateway.yaml", "--json").stdout)["pools"]
    assert [(each["pool"], each["observed"]["utilisation"], each["busy"]) for each in listed] == [
        ("chat", None, None),
        ("embed", None, None),
    ]


def test_without_prices_of_gpus_the_next_step_is_told(tmp_path: Path) -> None:
    open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    result = _run("--config", str(write_config(tmp_path)))
    assert result.exit_code == 0
    assert 'gpu: {usd_per_gpu_hour: "2.50"}' in result.stdout


def test_it_is_on_the_page_of_a_configuration_with_prices(folder: Path) -> None:
    fill(open_stores(f"sqlite:///{folder / 'tollgate.db'}"), NOW, 3)
    result = CliRunner().invoke(main, ["costs", "--config", "gateway.yaml", "--format", "html"])
    assert result.exit_code == 0, result.output
    assert "Break-even" in result.stdout
