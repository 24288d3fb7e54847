"""What one team asks and is told is not another's, however it asks."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine import raw
from tests.gateway.serving import make_key
from tests.security.front import CHAT, Front

FOREIGN = ("resp_0123456789abcdef", "batch_1", "file-1", "../resp_1", "chatcmpl-1", "", 1, ["resp_1"], {"id": "resp_1"})


def _auth(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _usage(house: Front, key: str, query: str = "") -> raw.Answer:
    return house.ask("GET", f"/v1/usage{query}", headers=_auth(key))


@pytest.fixture(scope="module")
def two(house: Front) -> tuple[str, str]:
    """Keys of two teams, of which the first has asked."""
    keys = make_key(house.gateway.stores, team="crimson"), make_key(house.gateway.stores, team="cobalt")
    house.run(asyncio.to_thread(house.gateway.app.state.refresh))
    for _ in range(3):
        assert house.chat(key=keys[0]).status == 200
    house.run(house.gateway.until(lambda: house.gateway.app.data_plane.spool.lag == 0))
    house.heard()
    return keys


def test_a_key_sees_its_own_usage_whatever_it_asks_for(house: Front, two: tuple[str, str]) -> None:
    red, blue = two
    assert b'"requests":3' in _usage(house, red).body.replace(b" ", b"")
    told = _usage(house, blue)
    assert b"crimson" not in told.body
    assert red.split("-")[2].encode() not in told.body
    assert b'"requests":0' in told.body.replace(b" ", b"")
    for name in ("key", "team", "key_id", "tenant", "user", "all", "scope", "where", "filter"):
        assert _usage(house, blue, f"?{name}=crimson").status == 400
    for by in ("key", "team", "replica", "request", "tags", "key_id", "model,team"):
        assert _usage(house, blue, f"?by={by}").status == 400
    assert house.ask("GET", "/v1/usage", headers={**_auth(blue), "x-api-key": red}).body == told.body


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "background"])
def test_no_answer_of_another_is_gone_on_with(house: Front, two: tuple[str, str], field: str) -> None:
    """The gateway keeps no answers, and asks no engine for one that it may keep."""
    for told in (*FOREIGN, True):
        body = {"model": "faq", "input": "hi", field: told}
        answer = house.ask("POST", "/v1/responses", body, _auth(two[1]))
        assert (answer.status, house.heard()) == (400, [])


KEPT = (
    "/v1/responses/{0}", "/v1/responses/{0}/input_items", "/v1/files/{0}", "/v1/batches/{0}",
    "/v1/chat/completions/{0}", "/v1/threads/{0}", "/v1/conversations/{0}",
)  # fmt: skip


@pytest.mark.parametrize("path", KEPT)
def test_nothing_is_kept_that_an_id_could_name(house: Front, two: tuple[str, str], path: str) -> None:
    for told in FOREIGN[:5]:
        for method in ("GET", "DELETE", "POST"):
            assert house.ask(method, path.format(told), headers=_auth(two[1])).status == 404
    assert house.heard() == []


@given(salt=st.one_of(st.text(min_size=1, max_size=80), st.just("crimson")))
def test_a_clients_salt_reaches_the_engine_as_it_came(house: Front, two: tuple[str, str], salt: str) -> None:
    """A cache of prefixes is shared by whoever has no salt, or the same: what sets one's own apart is never lost."""
    salt = salt.encode("utf-8", "ignore").decode()
    assert house.chat(key=two[1], cache_salt=salt).status == 200
    (received,) = house.engine.received(CHAT)
    assert received.json["cache_salt"] == salt
    house.heard()


def test_the_same_question_is_answered_by_the_engine_again(house: Front, two: tuple[str, str]) -> None:
    """There is no cache of answers: nobody is told what another one was."""
    for key in (*two, *two):
        assert house.chat(key=key, temperature=0, seed=1).status == 200
    assert house.heard() == [CHAT] * 4


def test_a_model_that_a_key_may_not_use_is_not_there(house: Front) -> None:
    key = make_key(house.gateway.stores, team="green", models=["other"])
    house.run(asyncio.to_thread(house.gateway.app.state.refresh))
    listed = house.ask("GET", "/v1/models", headers=_auth(key))
    assert listed.json["data"] == []
    for model in ("faq", "faq@1", "nothing-of-this-name"):
        answer = house.chat(key=key, model=model)
        assert answer.status in (403, 404)
        page = house.ask("GET", f"/v1/models/{model}", headers=_auth(key))
        assert page.status == 404
        others: list[Any] = [
            "red",
            "blue",
            "sk-tg",
            "http://",
            "127.0.0.1",
            house.gateway.app.state.serving.pools["main"].name,
        ]
        assert not [each for each in others if each in json.dumps(answer.json)]
    assert house.heard() == []
