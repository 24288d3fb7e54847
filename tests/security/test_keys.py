"""The key itself as the attack, and keys that are never told to anybody again."""

import logging
import sqlite3
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidKey
from gateway.contracts.ledger import LedgerRow
from gateway.policy.auth import authenticate
from gateway.stores.keys import KeyStore
from tests.engine.simulator import Engine, Fault
from tests.gateway import builders
from tests.gateway.process import running
from tests.security.front import BODY, CHAT, Front, holding, request

SQL = (
    "' OR '1'='1", "'; DROP TABLE keys; --", '" OR 1=1 --', "') UNION SELECT id, digest FROM keys --", "%' OR 'a'='a",
    "admin'--", "1; SELECT pg_sleep(9)", "${jndi:ldap://h}", "{{7*7}}", "../../etc/passwd", "%00", "\u2028",
    "null", "None", "true", "[]", "*", "_", "%", "sk-tg-", "sk-tg-%-%",
)  # fmt: skip
HEX = string.hexdigits.lower()
WAYS = ("authorization: Bearer ", "authorization: bearer  ", "x-api-key: ", "authorization: Basic ", "authorization: ")
PAGES = (("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/faq"), ("GET", "/v1/usage"))


def _tables(house: Front) -> list[Any]:
    """The keys as they lie in the database."""
    with sqlite3.connect(house.folder / "tollgate.db") as database:
        return sorted(map(tuple, database.execute("SELECT * FROM keys")))


@st.composite
def wrong_keys(draw: st.DrawFn, key: str) -> bytes:
    """Strings in place of a key: near to a good one, an attack on whoever looks it up, or anything."""
    public, secret = key.split("-")[2:]
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return f"sk-tg-{public}-{draw(st.text(HEX, min_size=48, max_size=48))}".encode()
    if kind == 1:
        return f"sk-tg-{draw(st.text(HEX, min_size=12, max_size=12))}-{secret}".encode()
    if kind == 2:
        return f"sk-tg-{public}{draw(st.sampled_from(SQL))}-{secret}".encode()
    if kind == 3:
        return (draw(st.sampled_from(["", key, f"sk-tg-{public}-"])) + draw(st.sampled_from(SQL))).encode()
    if kind == 4:
        return draw(st.sampled_from([b"A", b"\xff", "é".encode(), b"'"])) * draw(st.sampled_from([1, 9_000, 60_000]))
    return draw(st.text(max_size=60)).encode() + draw(st.binary(max_size=10))


def test_no_string_is_a_key_but_one(house: Front) -> None:
    before = _tables(house)

    @given(wrong_keys(house.key), st.sampled_from(WAYS), st.sampled_from(PAGES))
    def check(told: bytes, way: str, page: tuple[str, str]) -> None:
        method, path = page
        body = BODY if method == "POST" else b""
        answers = house.says(request(method.encode(), path.encode(), way.encode() + told, body=body))
        assert answers[0][0] in (400, 401, 431), answers
        assert not house.heard()

    check()
    assert _tables(house) == before
    assert house.chat().status == 200, "and the good key still is one"
    house.heard()


def test_no_parameter_of_a_page_is_a_query(house: Front) -> None:
    before = _tables(house)

    @given(st.sampled_from(["since", "until", "by", "key", "team", "x"]), st.sampled_from(SQL) | st.text(max_size=30))
    def check(name: str, value: str) -> None:
        escaped = "".join(f"%{byte:02x}" for byte in value.encode("utf-8", "surrogatepass"))
        answer = house.ask("GET", f"/v1/usage?{name}={escaped}", headers={"authorization": f"Bearer {house.key}"})
        assert answer.status in (200, 400)
        assert answer.status == 400 or not value or name in ("since", "until", "by")

    check()
    assert _tables(house) == before


@given(st.sampled_from(SQL) | st.text(max_size=60))
def test_a_key_that_is_looked_up_is_looked_up_as_bytes(told: str) -> None:
    """The way to a record is one look into a table in memory: no query is made of a key."""
    text, record = builders.key()
    with pytest.raises(InvalidKey) as refused:
        authenticate(f"Bearer {text}{told}-".encode("utf-8", "surrogatepass"), None, {record.id: record}, builders.NOW)
    assert text not in str(refused.value)


def test_a_key_is_in_no_answer_log_metric_file_or_representation(
    house: Front, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = house.key.rpartition("-")[2][:-1]
    near = house.key[:-1] + ("0" if house.key[-1] != "0" else "1")
    answers = [
        house.chat(key=near),
        house.chat(),
        house.chat(key=f"{house.key}0"),
        house.chat(model="none"),
        house.chat(n="x"),
        house.chat(key=house.key.upper()),
    ]
    house.engine.faults.append(Fault("refuse", times=9))
    answers.append(house.chat())
    house.engine.faults.clear()
    answers += [house.ask("GET", f"/v1/models?key={house.key}"), house.ask("GET", f"/{house.key}")]
    answers += [house.ask(method, path, headers={"x-api-key": house.key}) for method, path in PAGES[1:]]
    answers.append(house.ask("GET", "/metrics"))
    house.run(house.gateway.until(lambda: house.gateway.app.data_plane.spool.lag == 0))
    for answer in answers:
        # A path that is not there is told to who wrote it, and to nobody else.
        told = answer.body.replace(f"'/{house.key}'".encode(), b"") + repr(answer.headers).encode()
        assert secret.encode() not in told
    assert secret not in caplog.text
    assert holding(house.folder, secret) == []
    records = list(house.gateway.app.state.snapshot.keys.values())
    assert secret not in repr(records) + repr([record.principal for record in records])
    assert not any("secret" in name or "text" in name for name in LedgerRow.__struct_fields__)
    house.heard()


def test_what_is_stored_opens_nothing(house: Front) -> None:
    """Who reads the database has digests, and no digest is a key."""
    for record in KeyStore(house.gateway.stores.database).all():
        for told in (record.digest.hex(), f"sk-tg-{record.id}-{record.digest.hex()[:48]}", record.id):
            assert house.chat(key=told).status == 401
    assert house.heard() == []


async def test_a_process_prints_no_key_but_the_first_and_that_once(tmp_path: Path) -> None:
    async with Engine() as engine, running(tmp_path, "--upstream", engine.url) as gateway:
        await gateway.answers()
        secret = gateway.key.rpartition("-")[2]
        for path in (f"/v1/models?api_key={gateway.key}", f"/v1/models/{gateway.key}", f"/{gateway.key}"):
            await gateway.get(path)
        engine.faults.append(Fault("refuse", times=9))
        assert (await gateway.ask()).status == 503
        gateway.process.terminate()
        rest, _ = await gateway.process.communicate()
        told = gateway.errors + rest.decode()
        assert secret not in told
        assert gateway.printed.count(secret) == 1
    assert holding(tmp_path, secret) == []
