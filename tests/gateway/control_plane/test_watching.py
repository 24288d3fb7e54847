"""The loops that look at engines: each is asked at its pace, whatever another one does."""

from pathlib import Path

from gateway.settings.health import Health
from tests.engine.simulator import Engine, Fault
from tests.gateway.serving import deployment, serving
from tests.polling import until

ROUNDS = 12
AT_MOST = 4
"""Questions for one page that may hang at once: of a scrape, a probe, the registration and the counts."""


async def test_an_engine_that_hangs_keeps_no_other_from_being_asked(tmp_path: Path) -> None:
    health = Health(period=0.05, scrape=0.05, timeout=60.0)
    async with Engine() as hanging, Engine() as other:
        hanging.faults.append(Fault("stall", after=0, path="/metrics", times=99))
        async with serving(deployment({"main": [hanging.url, other.url]}, health=health), tmp_path) as (gateway, _, _):
            for path in ("/metrics", "/health"):
                await until(lambda path=path: len(other.received(path)) >= ROUNDS)
            assert 1 <= len(hanging.received("/metrics")) <= AT_MOST
            _, replica = gateway.app.state.serving.pools["main"].engines
            assert replica.signals is not None
            assert replica.vitals.up


async def test_a_configuration_without_probes_asks_no_engine(tmp_path: Path) -> None:
    async with Engine() as silent, Engine() as engine:
        off = Health(probes=False, period=0.01, scrape=0.01)
        on = Health(period=0.01, scrape=0.01)
        folders = [tmp_path / "off", tmp_path / "on"]
        for folder in folders:
            folder.mkdir()
        async with (
            serving(deployment({"main": [silent.url]}, health=off), folders[0]),
            serving(deployment({"main": [engine.url]}, health=on), folders[1]),
        ):
            await until(lambda: len(engine.received("/metrics")) >= ROUNDS)
            assert silent.received("/health") + silent.received("/metrics") == []
