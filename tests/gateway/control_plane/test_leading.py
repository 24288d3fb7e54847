"""What one gateway does for all waits in the others, and goes on in one of them when that one is gone."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config import Deployment
from gateway.control_plane.leading import Leading
from gateway.costs.fleet import Engine
from gateway.settings.ledger import LedgerConfig
from gateway.stores.bundle import Stores, open_stores
from gateway.telemetry import Telemetry
from tests.gateway.builders import NOW, deployment
from tests.gateway.postgres import Postgres
from tests.polling import until


@dataclass
class Served:
    """A gateway without engines."""

    costed: dict[str, Engine] = field(default_factory=dict)
    deployment: Deployment = field(default_factory=lambda: deployment(ledger=LedgerConfig(retention_days=400)))


def _leading(stores: Stores, telemetry: Telemetry, *, chosen: bool = True) -> Leading:
    return Leading(stores, telemetry, lambda: NOW, Served(), chosen=chosen)


async def test_the_loops_of_one_that_does_not_lead_wait(tmp_path: Path) -> None:
    stores, telemetry = open_stores(f"sqlite:///{tmp_path / 't.db'}"), Telemetry()
    other, one = _leading(stores, telemetry, chosen=False), _leading(stores, telemetry)
    waiting = [asyncio.create_task(each) for each in (other.close_hours(), other.fold())]
    await other.look()
    assert telemetry.registry.get_sample_value("tollgate_leader") == 0
    await one.look()
    assert telemetry.registry.get_sample_value("tollgate_leader") == 1
    await one.close_hours()
    await one.fold()
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    stores.database.dispose()


async def test_over_postgresql_the_next_one_takes_over(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url()
    made = [open_stores(url, tmp_path / str(number)) for number in range(2)]
    one, two = (_leading(stores, Telemetry(), chosen=False) for stores in made)
    await one.look()
    await two.look()
    waiting = asyncio.create_task(two.close_hours())
    await one.close_hours()
    assert not waiting.done()
    one.close()

    async def done() -> bool:
        await two.look()
        return waiting.done()

    await until(done)
    await waiting
    two.close()
    for stores in made:
        stores.database.dispose()
