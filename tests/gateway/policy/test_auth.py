"""A key is what was handed out, whole, and still good; everything else gets an InvalidKey that tells nothing."""

import hashlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidKey
from gateway.policy.auth import KeyRecord, Principal, authenticate, new_key, with_team
from gateway.settings.limits import CLASSES, ClassConfig, Quota, TeamConfig
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


def test_a_key_ends_exactly_when_it_says() -> None:
    ended = {RECORD.id: key(expires_at=NOW)[1]}
    header = f"Bearer {TEXT}".encode()
    assert _asks(header, ended, NOW - 0.001).key_id == RECORD.id
    assert "expired" in _refusal(header, ended, NOW)
    assert "expired" in _refusal(header, ended, NOW + 1e9)


@pytest.mark.parametrize("ahead_s", [-1e9, 0.0, 3600.0])
def test_a_revoked_key_has_ended_by_whatever_clock_it_was_revoked(ahead_s: float) -> None:
    revoked = {RECORD.id: key(revoked_at=NOW + ahead_s)[1]}
    assert "revoked" in _refusal(f"Bearer {TEXT}".encode(), revoked, NOW)


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


def _resolved(team: dict[str, object] | None = None, **changes: object) -> Principal:
    """What a key resolves to, through the header that its client sends."""
    text, record = key(**changes)
    classes = {**CLASSES, "gold": ClassConfig(level=7)}
    record = with_team(record, None if team is None else TeamConfig.model_validate(team), classes)
    return authenticate(f"Bearer {text}".encode(), None, {record.id: record}, NOW)


def test_limits_are_the_key_s_own_and_those_that_its_team_shares() -> None:
    found = _resolved({"rpm": 600, "weight": 2}, tpm=1000, concurrency=3)
    assert found.quota == Quota(tpm=1000, concurrency=3)
    assert found.team_quota is not None
    assert (found.team_quota.rpm, found.team_quota.tpm, found.weight) == (600, None, 2.0)


def test_where_nothing_is_limited_admission_has_nothing_to_look_at() -> None:
    for found in (_resolved(), _resolved({"weight": 3}), _asks(f"Bearer {TEXT}".encode())):
        assert (found.quota, found.team_quota) == (None, None)
    assert _resolved().weight == 1.0


def test_a_key_that_stands_alone_keeps_its_own_limits() -> None:
    text, record = key(rpm=5, priority_class="batch")
    found = _asks(f"Bearer {text}".encode(), {record.id: record})
    assert (found.quota, found.priority_class, found.priority) == (Quota(rpm=5), "batch", CLASSES["batch"].level)


@pytest.mark.parametrize(
    ("of_key", "of_team", "found"),
    [
        (None, None, ("standard", 0)),
        (None, "interactive", ("interactive", 100)),
        ("batch", "interactive", ("batch", -10)),
        ("gold", None, ("gold", 7)),
        ("gone", "interactive", ("interactive", 100)),
        ("gone", None, ("standard", 0)),
    ],
)
def test_the_class_is_the_key_s_else_its_team_s_else_standard(
    of_key: str | None, of_team: str | None, found: tuple[str, int]
) -> None:
    team = None if of_team is None else {"class": of_team}
    resolved = _resolved(team, priority_class=of_key)
    assert (resolved.priority_class, resolved.priority) == found


MODELS = st.none() | st.frozensets(st.sampled_from("abcd"))


@given(MODELS, MODELS)
def test_a_model_is_reached_when_both_key_and_team_may_use_it(
    of_key: frozenset[str] | None, of_team: frozenset[str] | None
) -> None:
    found = _resolved({"models": None if of_team is None else sorted(of_team)}, models=of_key)
    for model in "abcde":
        assert found.may_use(model) == all(models is None or model in models for models in (of_key, of_team))


def test_what_a_key_resolves_to_is_no_part_of_its_record() -> None:
    _, record = key()
    assert with_team(record, TeamConfig(rpm=1), CLASSES) == record
    assert "principal" not in repr(with_team(record, None, CLASSES))
