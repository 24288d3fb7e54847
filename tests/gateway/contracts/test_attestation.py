"""A verdict counts only when a trusted key signed exactly its bytes."""

import base64
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts import attestation, canonical
from gateway.contracts.errors import VerdictError
from gateway.contracts.verdict import Predicate, Verdict

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
PUBLIC = KEY.public_key()


def _verdict(digest: str = A) -> Verdict:
    metric = {"metric": "m", "test": "absolute", "verdict": "pass", "reason": "r", "alpha": 0.05}
    fields = {
        "verdict": "pass",
        "reason": "r",
        "created": NOW,
        "expires": NOW + timedelta(days=1),
        "metrics": [{**metric, "samples": 9, "clusters": 9}],
        "harness": "h",
        **{name: {"name": name, "digest": A} for name in ("gate", "suite", "dataset", "candidate_run")},
    }
    return Verdict(release="faq@2", release_digest=digest, predicate=Predicate.model_validate(fields))


VERDICT = _verdict()
SIGNED = attestation.sign(VERDICT, KEY)


def _changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    envelope = json.loads(SIGNED)
    change(envelope)
    return json.dumps(envelope).encode()


def _refused(data: bytes, says: str) -> None:
    with pytest.raises(VerdictError, match=says):
        attestation.verify(data, [PUBLIC])


def test_what_was_signed_is_read_back() -> None:
    assert attestation.verify(SIGNED, [PUBLIC]) == VERDICT
    assert attestation.verify(SIGNED, [STRANGER.public_key(), PUBLIC]) == VERDICT
    assert attestation.verify(SIGNED, [PUBLIC, PUBLIC]) == VERDICT


def test_the_envelope_is_dsse_around_canonical_json() -> None:
    envelope = json.loads(SIGNED)
    assert set(envelope) == {"payload", "payloadType", "signatures"}
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert base64.b64decode(envelope["payload"]) == canonical.canonical_json(VERDICT.statement())
    (signature,) = envelope["signatures"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    # DSSE's pre-authentication encoding, checked with the bare key.
    PUBLIC.verify(
        base64.b64decode(signature["sig"]), b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    )


def test_signing_twice_gives_the_same_bytes() -> None:
    assert attestation.sign(VERDICT, KEY) == SIGNED


def test_a_strangers_signature_does_not_count() -> None:
    _refused(attestation.sign(VERDICT, STRANGER), "no trusted key signed these bytes")


def test_a_stranger_under_a_trusted_keys_name_does_not_count() -> None:
    forged = json.loads(attestation.sign(VERDICT, STRANGER))
    forged["signatures"][0]["keyid"] = json.loads(SIGNED)["signatures"][0]["keyid"]
    _refused(json.dumps(forged).encode(), "no trusted key signed these bytes")


def test_no_trusted_key_is_an_error_of_its_own() -> None:
    with pytest.raises(VerdictError, match=r"enforcement\.trusted_keys"):
        attestation.verify(SIGNED, [])


def _flip(text: str, at: int) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[at] ^= 1
    return base64.b64encode(raw).decode()


@given(at=st.integers(0, len(base64.b64decode(json.loads(SIGNED)["payload"])) - 1))
def test_any_flipped_bit_of_the_payload_is_noticed(at: int) -> None:
    _refused(_changed(lambda e: e.update(payload=_flip(e["payload"], at))), "no trusted key signed these bytes")


@given(at=st.integers(0, 63))
def test_any_flipped_bit_of_the_signature_is_noticed(at: int) -> None:
    def change(envelope: dict[str, Any]) -> None:
        envelope["signatures"][0]["sig"] = _flip(envelope["signatures"][0]["sig"], at)

    _refused(_changed(change), "no trusted key signed these bytes")


def test_another_key_id_is_noticed() -> None:
    _refused(_changed(lambda e: e["signatures"][0].update(keyid="0" * 64)), "no trusted key")


def test_another_payload_type_is_noticed() -> None:
    _refused(_changed(lambda e: e.update(payloadType="application/json")), "expected payload type")


def test_a_payload_type_is_part_of_what_was_signed() -> None:
    """A trusted key's signature under another type must not be carried over to this one."""
    from_other_type = KEY.sign(b"DSSEv1 16 application/json %d %s" % (2, b"{}"))
    data = {
        "payload": base64.b64encode(b"{}").decode(),
        "payloadType": attestation.PAYLOAD_TYPE,
        "signatures": [
            {"keyid": json.loads(SIGNED)["signatures"][0]["keyid"], "sig": base64.b64encode(from_other_type).decode()}
        ],
    }
    _refused(json.dumps(data).encode(), "no trusted key signed these bytes")


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(signatures=[]),
        lambda e: e.update(signatures=None),
        lambda e: e.update(signatures={}),
        lambda e: e.update(signatures=[None]),
        lambda e: e.update(signatures=[{"keyid": "a"}]),
        lambda e: e.update(signatures=[{"keyid": "a", "sig": 3}]),
        lambda e: e.update(signatures=[{"keyid": [], "sig": "aaaa"}]),
        lambda e: e.update(payload=None),
        lambda e: e.update(payload="%%%"),
        lambda e: e.update(payload="a"),
        lambda e: e.pop("payload"),
        lambda e: e.pop("payloadType"),
        lambda e: e.pop("signatures"),
    ],
)
def test_an_envelope_with_a_broken_part_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(VerdictError):
        attestation.verify(_changed(change), [PUBLIC])


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"3", b"{", b"\xff\xfe", b'"text"', b"[" * 5_000])
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(VerdictError):
        attestation.verify(data, [PUBLIC])


@settings(max_examples=300)
@given(at=st.integers(0, len(SIGNED) - 1), byte=st.integers(0, 255))
def test_no_changed_byte_of_the_file_makes_another_verdict(at: int, byte: int) -> None:
    data = SIGNED[:at] + bytes([byte]) + SIGNED[at + 1 :]
    with suppress(VerdictError):
        assert attestation.verify(data, [PUBLIC]) == VERDICT


def _sign_raw(payload: bytes) -> bytes:
    kind = attestation.PAYLOAD_TYPE.encode()
    sig = KEY.sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    keyid = json.loads(SIGNED)["signatures"][0]["keyid"]
    signature = {"keyid": keyid, "sig": base64.b64encode(sig).decode()}
    data = {"payload": base64.b64encode(payload).decode(), "payloadType": kind.decode(), "signatures": [signature]}
    return json.dumps(data).encode()


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"3", b"null", b"{}", b"\xff"])
def test_a_signed_payload_that_is_no_statement_is_refused(payload: bytes) -> None:
    _refused(_sign_raw(payload), "payload|Statement")


@pytest.mark.parametrize("subjects", [0, 2])
def test_a_signed_statement_about_none_or_two_releases_is_refused(subjects: int) -> None:
    statement = VERDICT.statement()
    statement["subject"] *= subjects
    _refused(_sign_raw(canonical.canonical_json(statement)), "one release")


def test_a_signed_pass_without_metrics_is_refused() -> None:
    statement = VERDICT.statement()
    statement["predicate"]["metrics"] = []
    _refused(_sign_raw(canonical.canonical_json(statement)), "at least one critical metric")


def test_a_verdict_does_not_serve_for_another_release_or_after_its_time() -> None:
    read = attestation.verify(SIGNED, [PUBLIC])
    assert read.refusal(A, NOW) is None
    assert "not" in (read.refusal(B, NOW) or "")
    assert "expired" in (read.refusal(A, NOW + timedelta(days=1)) or "")


def test_a_payload_of_one_verdict_under_the_signature_of_another_is_refused() -> None:
    other = json.loads(attestation.sign(_verdict(B), KEY))
    _refused(_changed(lambda e: e.update(payload=other["payload"])), "no trusted key signed these bytes")


def test_new_keys_sign_and_verify(tmp_path: Path) -> None:
    private, public = tmp_path / "gate.key", tmp_path / "gate.pub"
    keyid = attestation.generate_keys(private, public)
    signed = attestation.sign(VERDICT, attestation.load_private(private))
    assert attestation.verify(signed, [attestation.load_public(public)]) == VERDICT
    assert json.loads(signed)["signatures"][0]["keyid"] == keyid


def test_a_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    private = tmp_path / "gate.key"
    attestation.generate_keys(private, tmp_path / "gate.pub")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" not in (tmp_path / "gate.pub").read_bytes()


@pytest.mark.parametrize("existing", ["gate.key", "gate.pub"])
def test_new_keys_never_overwrite(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(VerdictError, match="exists"):
        attestation.generate_keys(tmp_path / "gate.key", tmp_path / "gate.pub")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(existing, "precious")]


def test_both_halves_in_one_file_are_refused(tmp_path: Path) -> None:
    """The public half would be written over the private one, and a lost signing key cannot be made again."""
    with pytest.raises(VerdictError):
        attestation.generate_keys(tmp_path / "gate", tmp_path / "gate")


@pytest.mark.parametrize("content", [b"", b"nothing", b"-----BEGIN PRIVATE KEY-----\n", b"\xff\xfe"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    for load in (attestation.load_private, attestation.load_public):
        with pytest.raises(VerdictError, match="evals keys"):
            load(path)
        with pytest.raises(VerdictError, match="evals keys"):
            load(tmp_path / "missing")


def test_keys_of_another_kind_and_swapped_halves_are_refused(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "k").write_bytes(other.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "p").write_bytes(other.public_key().public_bytes(pem, spki))
    with pytest.raises(VerdictError, match="expected an ed25519 key"):
        attestation.load_private(tmp_path / "k")
    with pytest.raises(VerdictError, match="expected an ed25519 key"):
        attestation.load_public(tmp_path / "p")
    with pytest.raises(VerdictError):
        attestation.load_private(tmp_path / "p")
    with pytest.raises(VerdictError):
        attestation.load_public(tmp_path / "k")


def test_an_encrypted_private_key_is_refused_in_words(tmp_path: Path) -> None:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "k").write_bytes(KEY.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"x")))
    with pytest.raises(VerdictError, match="not a readable private key"):
        attestation.load_private(tmp_path / "k")


CLIENTS = """
import sys
from pathlib import Path
from gateway.contracts import attestation
attestation.generate_keys(Path("gate.pem"), Path("gate.pub"))
assert not [name for name in attestation.CLIENTS if name in sys.modules]
import boto3
print(boto3.__file__)
"""


def test_no_client_of_a_key_store_is_loaded_and_each_can_be_afterwards(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("import sys\nassert 'securesystemslib.dsse' in sys.modules, 'not by itself'\n")
    command = [sys.executable, "-c", CLIENTS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "boto3.py")
