"""Counters and ledger of the same stores, held against each other."""

from pathlib import Path

import msgspec
import pytest

from gateway.costs.counted import reconcile_tokens, told
from gateway.costs.reconcile import TokenFinding
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.counters import Snapshot
from tests.gateway.builders import settled


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    made = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    for at, prompt, output in ((0.0, 100, 50), (3600.0, 1100, 250), (7200.0, 5000, 900)):
        made.counters.add(Snapshot("r1", at, 1.0, prompt, None, output), 30.0)
        made.counters.add(Snapshot("r2", at, 1.0, 0, None, 0), 30.0)
    return made


def found(stores: Stores, settled_by: float = 3600.0, **more: object) -> list[TokenFinding]:
    return reconcile_tokens(stores.counters, None, None, settled_by=settled_by, longest_s=3600.0, **more)  # type: ignore[arg-type]


def use(stores: Stores, prompt: int, output: int, at: float = 1800.0) -> None:
    row = settled(f"tg-{at}", replica="r1", started_at=at, duration_s=1.0, dispatched_s=0.0)
    stores.ledger.insert([msgspec.structs.replace(row, input_tokens=prompt, output_tokens=output)])


def test_a_ledger_that_has_what_the_engines_counted_agrees(stores: Stores) -> None:
    use(stores, 1000, 200)
    assert [(each.replica, each.kind, each.verdict, each.engine) for each in found(stores)] == [
        ("r1", "prompt", "agrees", 1000), ("r1", "output", "agrees", 200),
        ("r2", "prompt", "agrees", 0), ("r2", "output", "agrees", 0),
    ]  # fmt: skip
    assert told(found(stores)) == []


def test_traffic_around_the_gateway_is_told_in_tokens(stores: Stores) -> None:
    use(stores, 900, 300)
    lines = told(found(stores, replica="r1"))
    assert len(lines) == 2
    assert "counted 1000, the ledger has 900: 100 tokens went around the gateway" in lines[0]
    assert "counted 200, the ledger has 300: 100 tokens were counted that the engine did not work on" in lines[1]


def test_a_period_is_that_of_its_snapshots(stores: Stores) -> None:
    use(stores, 3900, 650, at=5400.0)
    later = reconcile_tokens(stores.counters, 3600.0, 7200.0, settled_by=7200.0, longest_s=3600.0, replica="r1")
    assert [(each.verdict, each.engine, each.seconds) for each in later] == [
        ("agrees", 3900, 3600.0), ("agrees", 650, 3600.0),
    ]  # fmt: skip
