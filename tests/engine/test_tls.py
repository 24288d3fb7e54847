"""An engine behind HTTPS, and who trusts it."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.engine import raw
from tests.engine.simulator import Engine, Fault
from tests.engine.tls import certificate

BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two"}], "stream": True}


async def _client(engine: Engine, context: ssl.SSLContext, name: str = "localhost") -> raw.Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", engine.port, ssl=context, server_hostname=name)
    return raw.Client(reader, writer, f"127.0.0.1:{engine.port}")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_client_that_trusts_the_certificate_is_answered(tmp_path: Path, name: str) -> None:
    made = certificate(tmp_path)
    async with Engine("faq", tls=made.server()) as engine:
        assert engine.url == f"https://127.0.0.1:{engine.port}"
        client = await _client(engine, made.client(), name)
        await client.send("POST", "/v1/chat/completions", BODY)
        assert (await client.answer()).body.endswith(b"data: [DONE]\n\n")
        await client.close()


async def test_no_other_client_and_no_other_name_is(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    (tmp_path / "old").mkdir()
    old = certificate(tmp_path / "old", now=datetime(2020, 1, 1, tzinfo=UTC))
    async with Engine("faq", tls=made.server()) as engine:
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
            await _client(engine, ssl.create_default_context())
        with pytest.raises(ssl.SSLCertVerificationError, match=r"example\.org"):
            await _client(engine, made.client(), "example.org")
    async with Engine("faq", tls=old.server()) as engine:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            await _client(engine, old.client())


@pytest.mark.parametrize("kind", ["close", "reset"])
async def test_faults_end_encrypted_connections_too(tmp_path: Path, kind: str) -> None:
    made = certificate(tmp_path)
    async with Engine("faq", tls=made.server()) as engine:
        engine.faults.append(Fault(kind, after=1))  # type: ignore[arg-type]
        client = await _client(engine, made.client())
        await client.send("POST", "/v1/chat/completions", BODY)
        answer = await client.answer()
        assert (answer.status, answer.whole) == (200, False)
        await client.close()
