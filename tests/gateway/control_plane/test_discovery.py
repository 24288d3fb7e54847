"""A deployment out of running engines: what they serve is what is offered."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Deployment, Listen
from gateway.contracts.documents import Secret
from gateway.contracts.errors import InputError, PriceMissing
from gateway.control_plane.discovery import discover
from tests.engine.simulator import Engine, Fault
from tests.gateway.servers import Handler, server


async def _discover(urls: Sequence[str], **changes: Any) -> Deployment:
    asked = {"listen": Listen(port=7), "prices": None, "database": "sqlite:///t.db", "api_key": None}
    return await discover(urls, **{**asked, **changes})


async def _refused(*urls: str, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        await _discover(urls, **changes)
    return str(caught.value)


def _urls(found: Deployment, model: str) -> list[str]:
    return [replica.url for replica in found.config.pools[found.releases[f"{model}@discovered"].pool].replicas]


def _answers(models: bytes, version: bytes = b'{"version":"0.32.0"}') -> Handler:
    async def handler(reader: Any, writer: Any) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        body = models if b"/v1/models" in asked else version
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await reader.read()

    return handler


def _cards(*cards: Any) -> bytes:
    return json.dumps({"object": "list", "data": cards}).encode()


async def test_one_engine_is_one_model() -> None:
    async with Engine("faq", max_model_len=512, version="0.33.1") as engine:
        found = await _discover([engine.url])
        assert found.defaults == {"faq": "faq@discovered"}
        manifest = found.releases["faq@discovered"].manifest
        assert (manifest.model.id, manifest.model.root) == ("faq", "models/faq")
        assert (manifest.engine.version, manifest.engine.flags) == ("0.33.1", {"max-model-len": 512})
        assert found.releases["faq@discovered"].digest == manifest.digest()
        assert _urls(found, "faq") == [engine.url]
        assert found.config.enforcement.mode == "off"
        assert (found.config.listen.port, found.config.database) == (7, "sqlite:///t.db")


async def test_engines_of_the_same_model_are_one_pool() -> None:
    async with Engine("faq") as one, Engine("faq") as two:
        found = await _discover([one.url, two.url + "/"])
        assert _urls(found, "faq") == [one.url, two.url]


async def test_two_models_are_two_pools_wherever_they_run() -> None:
    async with Engine("faq,shop") as both, Engine("shop") as one:
        found = await _discover([both.url, one.url])
        assert sorted(found.defaults) == ["faq", "shop"]
        assert (_urls(found, "faq"), _urls(found, "shop")) == ([both.url], [both.url, one.url])


async def test_law_10_the_same_engines_give_the_same_digests() -> None:
    async with Engine("faq", clock=lambda: 1.0) as one, Engine("faq", clock=lambda: 2.0) as two:
        first, second = await _discover([one.url]), await _discover([two.url])
        assert first.releases["faq@discovered"].digest == second.releases["faq@discovered"].digest


async def test_no_connection_is_left_behind() -> None:
    async with Engine("faq") as engine:
        await _discover([engine.url])
        await engine.wait_for(lambda e: not e.connections, 1.0)


async def test_an_engine_with_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Engine("faq", api_key="secret") as engine:
        message = await _refused(engine.url)
        assert "401" in message
        assert "--upstream-key-env" in message
        assert "$ENGINE_KEY" in await _refused(engine.url, api_key=Secret(env="ENGINE_KEY"))
        monkeypatch.setenv("ENGINE_KEY", "secret")
        found = await _discover([engine.url], api_key=Secret(env="ENGINE_KEY"))
        assert found.config.pools["faq"].replicas[0].api_key == Secret(env="ENGINE_KEY")
        assert '"secret"' not in found.config.model_dump_json()


async def test_prices_are_read_and_checked(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("version: v1\nmodels: {faq: unpriced}\n")
    async with Engine("faq") as engine, Engine("shop") as other:
        assert (await _discover([engine.url], prices=prices)).prices.version == "v1"
        with pytest.raises(PriceMissing, match="'shop'"):
            await _discover([engine.url, other.url], prices=prices)


async def test_an_engine_that_is_down_is_named() -> None:
    async with Engine("faq") as engine:
        gone = engine.url
    message = await _refused(gone)
    assert gone in message
    assert "is the engine up?" in message


async def test_one_engine_that_is_down_stops_the_start() -> None:
    async with Engine("faq") as up, Engine("faq") as down:
        await down.stop()
        assert down.url in await _refused(up.url, down.url)


@pytest.mark.parametrize("kind", ["close", "garbage", "reset"])
async def test_an_engine_that_breaks_off_is_named(kind: Any) -> None:
    async with Engine("faq") as engine:
        engine.faults.append(Fault(kind, path="/v1/models"))
        assert engine.url in await _refused(engine.url)


@pytest.mark.parametrize("url", ["10.0.0.7:8000", "ftp://h", "http://h/v1", "http://u:p@h", "", "http://"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    assert (await _refused(url)).startswith("--upstream: ")


@pytest.mark.parametrize(
    "models",
    [b"", b"<html>", b"\xff", b"[]", b"{}", b'{"data":1}', _cards(), _cards(1, "x", {}), _cards({"id": ""})],
)
async def test_an_engine_that_names_no_model_is_refused(models: bytes) -> None:
    async with server(_answers(models)) as url:
        assert "names no model" in await _refused(url)


@pytest.mark.parametrize(
    "card",
    [{"id": 5}, {"id": ["a"]}, {"id": "with space"}, {"id": "a@b"}, {"id": "a\nb"}, {"id": "x" * 300}],
)
async def test_a_name_that_no_model_can_have_is_refused(card: dict[str, Any]) -> None:
    async with server(_answers(_cards(card))) as url:
        assert url in await _refused(url)


@pytest.mark.parametrize("card", [{"root": 5}, {"max_model_len": [1]}, {"max_model_len": None, "root": None}])
async def test_what_else_a_card_says_does_not_stop_the_start(card: dict[str, Any]) -> None:
    async with server(_answers(_cards({"id": "faq", **card}))) as url:
        assert (await _discover([url])).defaults == {"faq": "faq@discovered"}


@pytest.mark.parametrize("version", [b"", b"[]", b'{"version":5}', b"\xff"])
async def test_an_unknown_version_is_unknown(version: bytes) -> None:
    async with server(_answers(_cards({"id": "faq"}), version)) as url:
        assert (await _discover([url])).releases["faq@discovered"].manifest.engine.version is None
