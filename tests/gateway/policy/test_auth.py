"""A key is what was handed out, whole, and still good; everything else gets an InvalidKey that tells nothing."""

import hashlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidKey
from gateway.policy.auth import KeyRecord, Principal, authenticate, new_key
from tests.gateway.builders import NOW, counting_bytes, key

TEXT, RECORD = key()
KEYS = {RECORD.id: RECORD}
SECRET = TEXT.rpartition("-")[2]


def _asks(authorization: bytes | None, keys: dict[str, KeyRecord] = KEYS, now: float = NOW) -> Principal:
    return authenticate(authorization, None, keys, now)


def _refusal(authorization: bytes | None, keys: dict[str, KeyRecord] = KEYS, now: float = NOW) -> str:
    with pytest.raises(InvalidKey) as caught:
        _asks(authorization, keys, now)
    assert caught.value.status == 401
    assert SECRET not in caught.value.message
    return caught.value.message


def test_a_key_becomes_its_principal() -> None:
    text, record = key(team="sales", scope="evaluate", models=frozenset({"faq"}))
    found = _asks(f"Bearer {text}".encode(), {record.id: record})
    assert found == Principal(record.id, "sales", "evaluate", frozenset({"faq"}))
    assert found.may_use("faq")
    assert not found.may_use("other")


def test_a_key_without_a_list_may_use_every_model() -> None:
    assert _asks(f"Bearer {TEXT}".encode()).may_use("anything")


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {}  "])
def test_the_scheme_has_any_case_and_spaces_are_not_counted(form: str) -> None:
    assert _asks(form.format(TEXT).encode()).key_id == RECORD.id


def test_a_new_key_is_stored_as_a_digest_of_the_whole_text() -> None:
    text, public, digest = new_key(counting_bytes(7))
    assert digest == hashlib.sha256(text.encode()).digest()
    assert text.split("-") == ["sk", "tg", public, text[-48:]]
    assert _asks(f"Bearer {text}".encode(), {public: key(7)[1]}).key_id == public


def test_an_unknown_id_and_a_wrong_secret_get_the_same_answer() -> None:
    unknown = _refusal(f"Bearer sk-tg-{'f' * 12}-{SECRET}".encode())
    wrong = _refusal(f"Bearer sk-tg-{RECORD.id}-{'0' * 48}".encode())
    assert unknown == wrong
    assert RECORD.id not in wrong


def test_a_wrong_secret_does_not_tell_that_the_key_was_revoked() -> None:
    gone = {RECORD.id: key(revoked_at=NOW - 5)[1]}
    assert "revoked" not in _refusal(f"Bearer sk-tg-{RECORD.id}-{'0' * 48}".encode(), gone)


def test_the_secret_of_another_key_does_not_open_this_one() -> None:
    other_text, other = key(50)
    mixed = f"Bearer sk-tg-{RECORD.id}-{other_text.rpartition('-')[2]}".encode()
    assert "unknown" in _refusal(mixed, {**KEYS, other.id: other})


@pytest.mark.parametrize(("field", "says"), [("revoked_at", "revoked"), ("expires_at", "expired")])
def test_a_key_ends_exactly_when_it_says(field: str, says: str) -> None:
    ended = {RECORD.id: key(**{field: NOW})[1]}
    header = f"Bearer {TEXT}".encode()
    assert _asks(header, ended, NOW - 0.001).key_id == RECORD.id
    assert says in _refusal(header, ended, NOW)
    assert says in _refusal(header, ended, NOW + 1e9)


def test_no_header_says_how_to_send_a_key() -> None:
    message = _refusal(None)
    assert "Authorization: Bearer" in message
    assert "gateway keys create" in message


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        TEXT,
        f"Basic {TEXT}",
        f"Bearer {TEXT[:-1]}",
        f"Bearer {TEXT}0",
        f"Bearer {TEXT} {TEXT}",
        f"Bearer {TEXT.upper()}",
        f"Bearer {TEXT}\n0",
        "Bearer sk-tg-' OR 1=1 --",
        f"Bearer sk-tg-{RECORD.id}'; DROP TABLE keys; --{SECRET}",
        f"Bearer sk-tg-%%%%%%%%%%%%-{SECRET}",
        f"Bearer sk-{'a' * 48}",
    ],
)
def test_anything_else_is_malformed(header: str) -> None:
    assert "malformed" in _refusal(header.encode())


@settings(deadline=None)
@given(st.binary(max_size=120))
@example(b"Bearer \xff\xfe")
@example(b"Bearer sk-tg-" + "٠".encode() * 12)
def test_no_bytes_are_anything_but_an_invalid_key(header: bytes) -> None:
    with pytest.raises(InvalidKey):
        _asks(header)
    with pytest.raises(InvalidKey):
        _asks(b"Bearer sk-tg-" + header)


@settings(deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.sampled_from("0123456789abcdef"))
def test_one_other_character_is_another_key(at: int, other: str) -> None:
    changed = TEXT[:at] + other + TEXT[at + 1 :]
    if changed != TEXT:
        _refusal(f"Bearer {changed}".encode())


def test_anthropics_clients_send_the_key_in_a_header_of_its_own() -> None:
    text, record = key()
    assert authenticate(None, text.encode(), {record.id: record}, NOW).key_id == record.id
    with pytest.raises(InvalidKey, match="malformed"):
        authenticate(None, b"Bearer " + text.encode(), {record.id: record}, NOW)


def test_authorization_counts_where_both_headers_are_sent() -> None:
    text, record = key()
    with pytest.raises(InvalidKey):
        authenticate(b"Bearer sk-ant-other", text.encode(), {record.id: record}, NOW)
