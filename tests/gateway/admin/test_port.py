"""The admin port: bound, named, warned of, spoken to over TLS, and ended."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.admin.port import Door
from gateway.cli.serving import bound
from gateway.contracts.errors import InputError
from gateway.settings.admin import AdminConfig
from tests.engine.tls import certificate
from tests.gateway.admin.desk import READ, WRITE, Desk, desk


def _config(folder: Path, **changes: Any) -> AdminConfig:
    tokens = {"deploy": {"role": "write", "file": folder / "write.token"}, "looks": {"file": folder / "read.token"}}
    return AdminConfig.model_validate({"tokens": tokens, **changes})


@pytest.fixture
def made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Desk:
    caplog.set_level(logging.INFO, "tollgate")
    return desk(tmp_path)


async def test_it_answers_while_it_is_open_and_not_after(made: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with bound("127.0.0.1", 0, "") as listener:
        door = Door(_config(made.folder), listener)
        page = f"{door.address}/v1/releases"
        assert door.greeting == f"\n  admin API on {door.address}/v1; tokens: deploy (write), looks (read)"
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {READ}"}) as client:
            async with door.open(made.house, made.counted.append):
                assert (await client.get(page)).status_code == 200
                large = {"x-large": "a" * 70_000}
                assert (await client.get(page, headers=large)).status_code == 431
            with pytest.raises(httpx.ConnectError):
                await client.get(page)
    assert made.counted == ["read"]
    assert "plain" not in caplog.text


async def test_tls_is_spoken_where_it_is_asked_for(made: Desk, caplog: pytest.LogCaptureFixture) -> None:
    own = certificate(made.folder)
    tls = {"certificate": own.certificate, "key": own.key}
    with bound("127.0.0.1", 0, "") as listener:
        config = _config(made.folder, tls=tls, listen={"host": "0.0.0.0"})
        door = Door(config, listener)
        assert door.address.startswith("https://")
        async with door.open(made.house, made.counted.append):
            headers = {"authorization": f"Bearer {WRITE}"}
            async with httpx.AsyncClient(headers=headers, verify=own.client()) as client:
                answer = await client.get(f"{door.address}/openapi.json")
            assert (answer.status_code, "/v1/keys" in answer.json()["paths"]) == (200, True)
            reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            writer.write(b"GET /v1/keys HTTP/1.1\r\nhost: a\r\n\r\n")
            assert await reader.read() == b""
            writer.close()
    assert "plain" not in caplog.text


async def test_tokens_in_the_clear_are_warned_of(made: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with bound("127.0.0.1", 0, "") as listener:
        async with Door(_config(made.folder, listen={"host": "0.0.0.0"}), listener).open(made.house, print):
            pass
    assert "admin: 0.0.0.0 is no address of this machine alone, and has no TLS" in caplog.text


def test_what_cannot_be_used_is_said_before_anything_answers(made: Desk) -> None:
    own = certificate(made.folder)
    (made.folder / "none").write_text("no certificate")
    with bound("127.0.0.1", 0, "") as listener:
        for wrong in ({"certificate": made.folder / "none"}, {"key": made.folder / "gone"}):
            tls = {"certificate": own.certificate, "key": own.key, **wrong}
            with pytest.raises(InputError, match=r"admin\.tls"):
                Door(_config(made.folder, tls=tls), listener)
        (made.folder / "read.token").write_text("short")
        with pytest.raises(InputError, match=r"admin\.tokens\.looks"):
            Door(_config(made.folder), listener)


def test_an_address_that_is_taken_says_what_to_do() -> None:
    with bound("127.0.0.1", 0, "") as listener:
        listener.listen()
        with pytest.raises(InputError, match=r"cannot listen on 127\.0\.0\.1:\d+ \(.*\): choose another"):
            bound("127.0.0.1", listener.getsockname()[1], "choose another")
