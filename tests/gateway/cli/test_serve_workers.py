"""`gateway serve --workers 2`: one greeting, one sum of metrics, one configuration, and no worker that is missed."""

import asyncio
import os
import signal
from pathlib import Path

from tests.engine.simulator import Engine
from tests.gateway.builders import write_config
from tests.gateway.process import UNWATCHED, Gateway, running, serving, stores_in
from tests.gateway.serving import make_key

WORKERS = ("--workers", "2")


async def _counted(gateway: Gateway) -> float:
    """Completed requests, as /metrics says."""
    lines = (await gateway.get("/metrics")).body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("tollgate_requests_total{"))


async def test_two_workers_from_their_start_to_sigterm_count_as_one(tmp_path: Path) -> None:
    async with Engine("faq") as engine, running(tmp_path, "--upstream", engine.url, *WORKERS) as gateway:
        await gateway.answers()
        assert len(gateway.children()) == 2
        for _ in range(20):
            assert (await gateway.ask()).status == 200

        async def any_shows_what_all_counted() -> bool:
            return await _counted(gateway) >= 20

        await gateway.until(any_shows_what_all_counted)
        assert await gateway.ended(signal.SIGTERM) == 0
        assert (gateway.printed.count("answers on"), gateway.printed.count(gateway.key)) == (1, 1)
    stores = stores_in(tmp_path)
    assert [row["outcome"] for row in stores.ledger.recent(50) if row["purpose"] == "serve"] == ["completed"] * 20
    assert list(stores.spool_folder.iterdir()) == []


async def test_law_1_a_worker_that_is_killed_leaves_its_rows_to_the_next_one(tmp_path: Path) -> None:
    async with Engine("faq") as engine, serving(tmp_path, engine, *WORKERS) as gateway:
        first = gateway.children()
        engine.hold()
        asking = [asyncio.create_task(gateway.ask()) for _ in range(6)]
        await engine.wait_for(lambda e: e.running == 6)
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        assert await gateway.gather(asking) == [None] * 6
        engine.resume()

        for slot in range(2):
            await gateway.logged(f"worker {slot} ended with exit code 137; another one starts")
            await gateway.logged(f"worker {slot} answers again")
        assert (await gateway.ask()).status == 200
        assert await gateway.ended(signal.SIGTERM) == 0
    outcomes = [row["outcome"] for row in stores_in(tmp_path).ledger.recent(50)]
    assert sorted(outcomes) == ["completed", *["gateway_lost"] * 6]
    assert list(stores_in(tmp_path).spool_folder.iterdir()) == []


async def test_every_worker_hears_of_keys_and_configurations(tmp_path: Path) -> None:
    async with Engine("faq") as one, Engine("faq") as two, serving(tmp_path, one, *WORKERS) as gateway:
        digests = await gateway.digests(set())
        assert len(digests) == 1
        (tmp_path / "gateway.yaml").write_text("pools: [")
        await gateway.logged("gateway.yaml: line 1: not valid YAML")
        # What takes a dead one's place serves by the last good configuration, whatever the file says.
        os.kill(gateway.children()[0], signal.SIGKILL)

        await gateway.logged("worker . answers again")
        assert (await gateway.ask()).status == 200
        assert await gateway.digests(set()) == digests
        write_config(tmp_path, [two.url], health=UNWATCHED)
        assert len(await gateway.digests(digests)) == 1
        assert gateway.errors.count("configuration sha256:") == 1
        asked = len(one.received("/v1/chat/completions"))
        assert (await gateway.ask()).status == 200
        assert len(one.received("/v1/chat/completions")) == asked
        stores_in(tmp_path).keys.revoke(gateway.key.split("-")[2], 1.0)

        async def refused() -> bool:
            return {(await gateway.get("/v1/models")).status for _ in range(10)} == {401}

        await gateway.until(refused)
        assert await gateway.ended(signal.SIGTERM) == 0


async def test_a_worker_that_takes_a_dead_ones_place_serves_by_no_prices_that_were_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    async with Engine("faq") as engine, serving(tmp_path, engine, *WORKERS) as gateway:
        bare = await gateway.digests(set())
        file.write_text('version: "one"\nmodels: {faq: unpriced}\n')
        write_config(tmp_path, [engine.url], health=UNWATCHED, prices="prices.yaml")
        first = await gateway.digests(bare)
        file.write_text('version: "one"\nmodels: {faq: {input: "1", output: "1"}}\n')
        await gateway.logged("the new configuration is refused.*'one' for other prices")
        os.kill(gateway.children()[0], signal.SIGKILL)
        await gateway.logged("worker . answers again")
        assert (await gateway.ask()).status == 200
        assert await gateway.digests(set()) == first
        assert gateway.errors.count("for other prices") == 1
        assert await gateway.ended(signal.SIGTERM) == 0


async def test_a_start_that_fails_in_a_worker_is_one_clear_error(tmp_path: Path) -> None:
    stores = stores_in(tmp_path)
    make_key(stores)
    stores.spool_folder.mkdir()
    (stores.spool_folder / "1-1-000000.jsonl").write_text("damaged\n")
    write_config(tmp_path)
    async with running(tmp_path, "--config", "gateway.yaml", *WORKERS) as gateway:
        assert await gateway.ended() == 1
        assert "line 1 is damaged" in gateway.errors
        assert gateway.errors.endswith("before it answered: see the message above\n")
        assert "Traceback" not in gateway.errors
        assert gateway.printed == ""


async def test_when_the_parent_is_killed_its_workers_end(tmp_path: Path) -> None:
    async with Engine("faq") as engine, serving(tmp_path, engine, *WORKERS) as gateway:
        workers = gateway.children()
        gateway.process.kill()

        async def gone() -> bool:
            return not any(_serves(pid) for pid in workers)

        await gateway.until(gone)


def _serves(pid: int) -> bool:
    try:
        return "gateway.cli.worker" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
