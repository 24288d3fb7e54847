"""The admin API's certificate: one that cannot be used is refused in words, nobody is asked for a pass phrase, and a
renewed one counts without a restart.
"""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.admin import certificates
from gateway.contracts.errors import InputError
from gateway.settings.admin import AdminTls
from tests.engine.tls import Certificate, certificate


def _tls(of: Certificate) -> AdminTls:
    return AdminTls(certificate=of.certificate, key=of.key)


def _lock(path: Path) -> None:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    phrase = serialization.BestAvailableEncryption(b"a phrase")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, phrase))


def test_a_key_with_a_pass_phrase_is_refused_and_no_terminal_is_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = certificate(tmp_path)
    _lock(own.key)
    with pytest.raises(InputError, match=r"admin\.tls\.key: .*key\.pem' asks for a pass phrase.*openssl pkey"):
        certificates.followed(_tls(own))
    assert "pass phrase" not in "".join(capfd.readouterr())


def test_files_that_are_no_pair_are_named(tmp_path: Path) -> None:
    own = certificate(tmp_path)
    assert certificates.followed(_tls(own)).get_ca_certs() == []
    other = tmp_path / "other"
    other.mkdir()
    for key in (certificate(other).key, tmp_path / "gone.pem", own.certificate):
        with pytest.raises(InputError, match=rf"^admin\.tls: .*certificate\.pem' and .*{key.name}' cannot be used: "):
            certificates.followed(AdminTls(certificate=own.certificate, key=key))


async def test_a_renewed_one_is_shown_from_the_next_connection_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of a pair that is being put there changes nothing, and neither does what cannot be used."""
    caplog.set_level(logging.WARNING, "tollgate")
    own = certificate(tmp_path)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificates.followed(_tls(own))
    )

    async def shown() -> str:
        port = server.sockets[0].getsockname()[1]
        return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))

    async with server:
        first = own.certificate.read_text()
        assert await shown() == await shown() == first
        key = own.key.read_bytes()
        second = certificate(tmp_path).certificate.read_text()
        new_key = own.key.read_bytes()
        own.key.write_bytes(key)
        assert await shown() == first
        own.key.write_bytes(new_key)
        assert await shown() == second != first
        own.key.unlink()
        assert await shown() == second
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "ERROR"]
    assert "the certificate that was read last is still shown: admin.tls: " in caplog.text
