"""A gateway in one process follows its configuration, on change and on SIGHUP."""

import os
import signal
from pathlib import Path

from tests.engine.simulator import Engine
from tests.gateway.builders import write_config
from tests.gateway.process import UNWATCHED, running, serving, stores_in


async def test_law_8_a_change_counts_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    async with Engine("faq") as one, Engine("faq") as two, serving(tmp_path, one) as gateway:
        (first,) = await gateway.digests(set())
        good = path.read_text()
        path.write_text(good.replace('"pools"', '"polls"'))
        at = next(number for number, line in enumerate(good.splitlines(), 1) if '"pools"' in line)
        await gateway.logged(f"line {at}, polls: unknown key 'polls': did you mean 'pools'")
        assert (await gateway.ask()).status == 200
        assert await gateway.digests(set()) == {first}
        write_config(tmp_path, [two.url], health=UNWATCHED)
        (second,) = await gateway.digests({first})
        await gateway.logged(f"configuration {first} → {second}: ~ pools.main.replicas.main-0.url")
        asked = len(one.received("/v1/chat/completions"))
        assert (await gateway.ask()).status == 200
        assert (len(one.received("/v1/chat/completions")), len(two.received("/v1/chat/completions"))) == (asked, 1)
        page = (await gateway.get("/metrics")).body.decode()
        assert 'tollgate_config_reloads_total{result="refused"} 1.0' in page
        assert 'tollgate_config_reloads_total{result="applied"} 1.0' in page
        assert await gateway.ended(signal.SIGTERM) == 0
        assert "Traceback" not in gateway.errors


async def test_sighup_has_it_read_even_where_nothing_seems_to_change(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    async with Engine("faq") as engine, serving(tmp_path, engine) as gateway:
        before = path.stat()
        path.write_text(path.read_text().replace('"live": "faq@1"', '"live": "faq@2"'))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        gateway.process.send_signal(signal.SIGHUP)
        await gateway.logged('~ models.faq.live: "faq@1" → "faq@2"')


async def test_changed_prices_need_a_new_version_at_a_reload_and_at_a_start(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    priced = 'version: "{}"\nmodels: {{faq: {{input: "{}", output: "1"}}}}\n'
    async with Engine("faq") as engine, serving(tmp_path, engine) as gateway:
        (bare,) = await gateway.digests(set())
        file.write_text(priced.format("one", "1"))
        write_config(tmp_path, [engine.url], health=UNWATCHED, prices="prices.yaml")
        (first,) = await gateway.digests({bare})
        file.write_text(priced.format("one", "2"))
        await gateway.logged("the new configuration is refused.*'one' for other prices.*a new `version`")
        assert (await gateway.ask()).status == 200
        assert await gateway.digests(set()) == {first}
        file.write_text(priced.format("two", "2"))
        await gateway.digests({first})
        assert await gateway.ended(signal.SIGTERM) == 0
    assert [each.version for each in stores_in(tmp_path).price_books.versions()] == ["one", "two"]
    for text, told in (
        (priced.format("one", "3"), "'one' for other prices"),
        ('version: "three"\nmodels: {faq: [{until: 2020-01-01, input: "1", output: "1"}]}\n', "'faq' ended"),
    ):
        file.write_text(text)
        async with running(tmp_path, "--config", "gateway.yaml") as again:
            assert await again.ended() == 1
            assert "Error: " in again.errors
            assert told in again.errors
            assert "Traceback" not in again.errors
