"""A certificate of one's own for `localhost` and `127.0.0.1`, made when it is needed: the tree holds no key."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificate:
    """Signed by itself. Whoever trusts the file `certificate` trusts the server that has `key` too."""

    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """What `Engine(tls=…)` takes."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """A client that trusts this certificate, and no other."""
        return ssl.create_default_context(cafile=str(self.certificate))


def certificate(folder: Path, *, host: str = "localhost", now: datetime | None = None) -> Certificate:
    """Write a new certificate for `host` and 127.0.0.1 into a folder; it is good for a day around `now`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    at = now or datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(hours=12))
        .not_valid_after(at + timedelta(hours=12))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    written = Certificate(folder / "certificate.pem", folder / "key.pem")
    written.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    written.key.write_bytes(key.private_bytes(pem, form, plain))
    return written
