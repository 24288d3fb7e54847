"""Signed verdicts: a DSSE envelope around the Statement, ed25519 signatures, keys as PEM files.

A verdict counts only when a trusted key signed exactly its bytes.

securesystemslib is loaded on first use, and without the clients of the clouds' key stores.
"""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.contracts import canonical
from gateway.contracts.errors import VerdictError
from gateway.contracts.verdict import Verdict, from_statement

PAYLOAD_TYPE = "application/vnd.in-toto+json"
CLIENTS = ("azure.core", "boto3", "google.cloud.kms", "hvac", "pkcs11")
"""Of key stores. securesystemslib does without those that are not installed, and loads the others whole: boto3 alone
takes 9 MB and a sixth of a second."""


def generate_keys(private: Path, public: Path) -> str:
    """Write a new ed25519 pair as PEM, the private half readable by its owner alone. Returns the key id.

    Raises VerdictError when a file exists already: a lost signing key cannot be made again. One that cannot be written
    leaves the other unwritten.
    """
    if private == public:
        raise VerdictError(f"the private and the public key cannot both be {str(private)!r}")
    for path in (private, public):
        if path.exists():
            raise VerdictError(f"{str(path)!r} exists: choose another name, or remove it yourself")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    told = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(private, secret, mode=0o600)
    try:
        _write_new(public, told, mode=0o666)
    except VerdictError:
        private.unlink()
        raise
    return _key_id(key.public_key())


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that is not there yet, whole or not at all. Raises VerdictError."""
    made = False
    try:
        path.touch(mode, exist_ok=False)
        made = True
        path.write_bytes(content)
    except OSError as error:
        if made:
            path.unlink()
        raise VerdictError(
            f"{str(path)!r} cannot be written: {error.strerror}; name a file in a folder that is there"
        ) from error


def _key_id(public: Ed25519PublicKey) -> str:
    _load()
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

    return SSlibKey.from_crypto(public).keyid


@cache
def _load() -> None:
    """Load securesystemslib, to which no key store's client is installed meanwhile."""
    hidden = [name for name in CLIENTS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None has an import fail (sys.modules)
    try:
        import securesystemslib.dsse  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a PEM private key. Raises VerdictError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise VerdictError(f"{str(path)!r} is not a readable private key in PEM: `evals keys` makes one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise VerdictError(f"{str(path)!r}: expected an ed25519 key, found {type(key).__name__}")
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """Read a PEM public key. Raises VerdictError."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise VerdictError(f"{str(path)!r} is not a readable public key in PEM: `evals keys` makes one") from error
    if not isinstance(key, Ed25519PublicKey):
        raise VerdictError(f"{str(path)!r}: expected an ed25519 key, found {type(key).__name__}")
    return key


def sign(verdict: Verdict, key: Ed25519PrivateKey) -> bytes:
    """The DSSE envelope as JSON. The payload is the canonical JSON of the Statement."""
    _load()
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]

    envelope = Envelope(canonical.canonical_json(verdict.statement()), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key))
    return msgspec.json.format(msgspec.json.encode(envelope.to_dict()), indent=2)


def verify(data: bytes, trusted: Sequence[Ed25519PublicKey]) -> Verdict:
    """The verdict inside an envelope that at least one trusted key signed. Raises VerdictError otherwise."""
    _load()
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import FormatError, VerificationError
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

    if not trusted:
        raise VerdictError("no key is trusted: name at least one under `enforcement.trusted_keys`")
    try:
        envelope = Envelope.from_dict(msgspec.json.decode(data))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, RecursionError, FormatError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise VerdictError(
            f"no signed verdict (a DSSE envelope; {found}): `evals gate --sign-with` writes one, RELEASE.dsse.json"
        ) from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise VerdictError(f"expected payload type {PAYLOAD_TYPE!r}, found {envelope.payload_type!r}")
    try:
        envelope.verify([SSlibKey.from_crypto(key) for key in trusted], threshold=1)
    except VerificationError as error:
        raise VerdictError(
            "no trusted key signed these bytes: the file was altered, or signed by a key that is not under "
            "`enforcement.trusted_keys`"
        ) from error
    try:
        statement = msgspec.json.decode(envelope.payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise VerdictError(f"the signed payload is not JSON: {error}") from error
    if not isinstance(statement, dict):
        raise VerdictError(f"the signed payload is a {type(statement).__name__}, not a Statement")
    return from_statement(statement)
