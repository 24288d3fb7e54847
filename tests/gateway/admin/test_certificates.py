"""The admin API's certificate: one that cannot be used is refused in words, and nobody is asked for a pass phrase."""

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
        certificates.server(_tls(own))
    assert "pass phrase" not in "".join(capfd.readouterr())


def test_files_that_are_no_pair_are_named(tmp_path: Path) -> None:
    own = certificate(tmp_path)
    assert certificates.server(_tls(own)).get_ca_certs() == []
    other = tmp_path / "other"
    other.mkdir()
    for key in (certificate(other).key, tmp_path / "gone.pem", own.certificate):
        with pytest.raises(InputError, match=rf"^admin\.tls: .*certificate\.pem' and .*{key.name}' cannot be used: "):
            certificates.server(AdminTls(certificate=own.certificate, key=key))
