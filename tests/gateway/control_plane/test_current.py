"""A reload replaces what serves as a whole; a request keeps what was served when it began."""

import asyncio
import dataclasses
import logging
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway import changes
from gateway.config import Deployment, Timeouts
from gateway.contracts.errors import InputError
from gateway.contracts.ledger import COMPLETED
from gateway.contracts.prices import Price, PriceBook
from gateway.control_plane.current import Current
from gateway.settings.enforcement import Enforcement
from gateway.settings.gpu_price import GpuPrice
from gateway.stores.bundle import open_stores
from gateway.stores.database import open_database
from gateway.telemetry import Telemetry
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.builders import NOW
from tests.gateway.serving import PRICES, deployment, release, serving
from tests.polling import until

HELLO = {"model": "faq", "messages": [{"role": "user", "content": "one two"}]}
DEARER = PriceBook(version="dearer", models={"faq": Price(input="9", output="9")})  # type: ignore[arg-type]


def _current(folder: Path, deployed: Deployment) -> Current:
    return Current(deployed, open_stores(f"sqlite:///{folder / 't.db'}"), Telemetry(), lambda: NOW, time.monotonic)


def _reloads(telemetry: Telemetry) -> dict[str, float]:
    (family,) = telemetry.config_reloads.collect()
    return {s.labels["result"]: s.value for s in family.samples if s.name.endswith("_total")}


async def test_everything_is_replaced_together(tmp_path: Path) -> None:
    old = deployment({"main": ["http://a"]})
    new = dataclasses.replace(
        deployment({"other": ["http://b"]}, [release("2", "other")], timeouts=Timeouts(idle=5)), prices=DEARER
    )
    current = _current(tmp_path, old)
    before = current.state.serving
    await current.reload(new)
    after = current.state.serving
    assert (set(before.pools), set(before.snapshot.releases), before.prices) == ({"main"}, {"faq@1"}, PRICES)
    assert (set(after.pools), set(after.snapshot.releases), after.prices) == ({"other"}, {"faq@2"}, DEARER)
    assert (after.snapshot.live, after.timeouts.idle) == ({"faq": "faq@2"}, 5.0)
    assert current.digest == changes.digest(new)
    await current.tick()
    assert [replica.name for replica in current.replicas] == ["other-0"]


async def test_replicas_are_paid_for_from_the_configuration_that_prices_them(tmp_path: Path) -> None:
    def priced(url: str, usd: int) -> Deployment:
        made = deployment({"main": [url]})
        gpu = GpuPrice(usd_per_gpu_hour=Decimal(usd))
        pools = {name: pool.model_copy(update={"gpu": gpu}) for name, pool in made.config.pools.items()}
        return dataclasses.replace(made, config=made.config.model_copy(update={"pools": pools}))

    moments = [NOW]
    stores = open_stores(f"sqlite:///{tmp_path / 't.db'}")
    current = Current(priced("http://a", 2), stores, Telemetry(), lambda: moments[-1], time.monotonic)
    moments.append(NOW + 5)
    await current.reload(priced("http://a", 3))
    assert {name: each.price.usd_per_gpu_hour for name, each in current.costed.items() if each.price} == {"main-0": 3}
    moments.append(NOW + 9)
    await current.reload(deployment({"other": ["http://b"]}, [release("2", "other")]))
    spans = [(each.since, each.until, each.usd_per_hour) for each in stores.rentals.all()["main-0"]]
    assert spans == [(NOW, NOW + 5, 2), (NOW + 5, NOW + 9, 3)]
    assert set(current.costed) == {"main-0", "other-0"}


async def test_law_8_what_cannot_serve_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    old = deployment({"main": ["http://a"]})
    current = Current(old, open_stores(f"sqlite:///{tmp_path / 't.db'}"), telemetry, lambda: NOW, time.monotonic)
    serving_before, replicas = current.state.serving, current.replicas
    enforcement = Enforcement(mode="warn", trusted_keys=(tmp_path / "none.pub",))
    await current.reload(deployment({"main": ["http://b"]}, enforcement=enforcement))
    assert current.state.serving is serving_before
    assert (current.digest, current.replicas) == (changes.digest(old), replicas)
    assert "refused, and the last good one keeps serving" in caplog.text
    await current.reload(None)
    await current.reload(old)
    assert _reloads(telemetry) == {"refused": 2, "applied": 1}


async def test_a_database_that_is_away_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    current = _current(tmp_path, deployment({"main": ["http://a"]}))
    engine = open_database(f"sqlite:///{tmp_path / 't.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE keys RENAME TO away"))
    caplog.set_level(logging.ERROR, "tollgate")
    reload = asyncio.create_task(current.reload(deployment({"main": ["http://b"]})))
    await until(lambda: caplog.messages)
    assert "waits for the database" in caplog.text
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO keys"))
    await asyncio.wait_for(reload, 10)
    assert current.digest == changes.digest(deployment({"main": ["http://b"]}))


async def test_the_same_version_with_other_prices_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = deployment({"main": ["http://a"]})
    current = _current(tmp_path, old)
    serving_before = current.state.serving
    same = PriceBook(version=PRICES.version, models=DEARER.models)
    await current.reload(dataclasses.replace(old, prices=same))
    assert current.state.serving is serving_before
    assert "'test' for other prices" in caplog.text
    assert "give the changed file a new `version`" in caplog.text
    await current.reload(dataclasses.replace(old, prices=DEARER))
    assert current.state.serving.prices == DEARER
    with pytest.raises(InputError, match="'test' for other prices"):
        _current(tmp_path, dataclasses.replace(old, prices=same))
    _current(tmp_path, old)


async def test_prices_that_ended_are_not_taken_and_those_that_serve_are_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    today = datetime.fromtimestamp(NOW, UTC).date()
    dated = PriceBook.model_validate(
        {
            "version": "dated",
            "models": {"faq": [{"until": str(today + timedelta(days=1)), "input": "1", "output": "1"}]},
        }
    )
    clock, old = [NOW], dataclasses.replace(deployment({"main": ["http://a"]}), prices=dated)
    stores = open_stores(f"sqlite:///{tmp_path / 't.db'}")
    current = Current(old, stores, Telemetry(), lambda: clock[0], time.monotonic)
    current.state.refresh()
    assert not caplog.messages
    clock[0] = NOW + 86_400
    for _ in range(3):
        current.state.refresh()
    (told,) = caplog.messages
    assert "rows say `unpriced`" in told
    assert f"the prices of 'faq' ended: there is none from {today + timedelta(days=1)} on" in told
    await current.reload(dataclasses.replace(old, prices=dated.model_copy(update={"version": "again"})))
    assert "the new configuration is refused" in caplog.text
    assert current.state.serving.prices == dated


async def test_a_stream_ends_on_what_it_began_with(tmp_path: Path) -> None:
    """On the replica, the release and the price of the old configuration, whose replica closes once it has ended."""
    async with (
        Engine() as old,
        Engine() as new,
        serving(deployment({"main": [old.url]}), tmp_path) as (gateway, key, _),
    ):
        bearer = {"authorization": f"Bearer {key}"}
        async with raw.connect(gateway.url) as client:
            old.hold()
            await client.send("POST", "/v1/chat/completions", HELLO | {"stream": True}, bearer)
            await old.wait_for(lambda e: e.running == 1)
            replaced = dataclasses.replace(deployment({"main": [new.url]}, [release("2")]), prices=DEARER)
            await gateway.app.current.reload(replaced)
            assert (await raw.post(gateway.url, "/v1/chat/completions", HELLO, bearer)).status == 200
            assert len(gateway.app.current.replicas) == 2
            old.resume()
            assert (await client.answer()).events[-1] == b"data: [DONE]\n\n"
        rows = {row.release: row for row in await gateway.rows(2)}
        assert {name: (row.outcome, row.price_version) for name, row in rows.items()} == {
            "faq@1": (COMPLETED, "test"),
            "faq@2": (COMPLETED, "dearer"),
        }
        await gateway.until(lambda: len(gateway.app.current.replicas) != 2)
        assert (len(old.received("/v1/chat/completions")), len(new.received("/v1/chat/completions"))) == (1, 1)


async def test_reloads_under_load_lose_no_request(tmp_path: Path) -> None:
    """Each request sees one configuration as a whole: its release and its engine belong together."""
    async with (
        Engine() as one,
        Engine() as two,
        serving(deployment({"main": [one.url]}), tmp_path) as (gateway, key, _),
    ):
        bearer = {"authorization": f"Bearer {key}"}
        deployed = [deployment({"main": [one.url]}), deployment({"main": [two.url]}, [release("2")])]
        engines = {"faq@1": one, "faq@2": two}

        async def ask() -> list[str | None]:
            async with raw.connect(gateway.url) as client:
                found = []
                for _ in range(15):
                    await client.send("POST", "/v1/chat/completions", HELLO, bearer)
                    answer = await client.answer()
                    assert answer.status == 200
                    found.append(answer.header("x-tollgate-release"))
                return found

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        turns = 0
        while not all(task.done() for task in asking):
            await gateway.app.current.reload(deployed[turns % 2])
            turns += 1
        seen = [name for task in asking for name in task.result()]
        for name, engine in engines.items():
            assert seen.count(name) == len(engine.received("/v1/chat/completions"))
        assert sum(gateway.in_flight()) == 0
        await gateway.rows(60)
