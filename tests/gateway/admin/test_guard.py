"""The door: who passes, what is counted, and what the log says."""

import asyncio
import itertools
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.guard import MOST_BYTES, MOST_WAITING, PAUSE_S, Guard
from gateway.admin.tokens import Tokens
from gateway.settings.admin import AdminToken
from tests.gateway.admin.desk import READ, WRITE, Desk, desk
from tests.polling import until


@pytest.fixture
def made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Desk:
    caplog.set_level(logging.INFO)
    return desk(tmp_path)


async def test_without_a_token_nothing_is_told_not_even_what_there_is(made: Desk) -> None:
    paths = ("/v1/keys", "/openapi.json", "/", "/nothing", "/v1/config/reload")
    asked = itertools.product(paths, ("GET", "POST", "OPTIONS", "DELETE"), (None, "", "x" * 40, WRITE[:-1]))
    for number, (path, method, token) in enumerate(asked, 1):
        answer = await made.ask(method, path, token=token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert (made.counted, made.paused) == (["unauthorized"] * number, [PAUSE_S] * number)


async def test_two_headers_are_no_token(made: Desk) -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {each}".encode()) for each in (WRITE, WRITE)]
    await made.app({"type": "http", "method": "GET", "path": "/v1/keys", "headers": headers}, receive, send)
    assert sent[0]["status"] == 401


async def test_who_may_read_changes_nothing(made: Desk, caplog: pytest.LogCaptureFixture) -> None:
    assert (await made.ask("GET", "/v1/keys", token=READ)).status_code == 200
    for method, path in (("POST", "/v1/keys"), ("POST", "/v1/config/reload"), ("DELETE", "/x"), ("PATCH", "/x")):
        answer = await made.ask(method, path, token=READ)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    assert made.counted == ["read", *["refused"] * 4]
    assert (await made.get("/v1/keys"))["data"] == []
    assert "'looks' asked POST '/v1/keys' of 127.0.0.1: 403, nothing changed" in caplog.text


async def test_a_browsers_request_for_another_site_is_refused(made: Desk) -> None:
    origins = [{"origin": each} for each in ("http://evil", "null", "")]
    sites = [{"sec-fetch-site": each} for each in ("cross-site", "same-site")]
    for headers, method in itertools.product([*origins, *sites], ("GET", "POST")):
        assert (await made.ask(method, "/v1/keys", headers=headers)).status_code == 403
    assert (await made.get("/v1/keys"))["data"] == []


async def test_a_change_is_json_and_says_so(made: Desk) -> None:
    types = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "")
    for headers in ({}, *({"content-type": each} for each in types)):
        answer = await made.ask("POST", "/v1/keys", b"{}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    good = await made.ask("POST", "/v1/keys", b"{}", headers={"content-type": "application/json; charset=utf-8"})
    assert good.status_code == 201


async def test_no_answer_is_kept_or_guessed_at(made: Desk) -> None:
    for token, path in ((WRITE, "/v1/keys"), (WRITE, "/nothing"), (None, "/v1/keys")):
        headers = (await made.ask("GET", path, token=token)).headers
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert not [name for name in headers if name.startswith("access-control")]


async def test_a_body_has_a_size(made: Desk) -> None:
    headers = {"content-type": "application/json"}
    answer = await made.ask("POST", "/v1/keys", b" " * (MOST_BYTES + 1), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert (await made.ask("POST", "/v1/keys", b" " * (MOST_BYTES - 2) + b"{}", headers=headers)).status_code == 201


async def test_a_change_is_in_the_log_with_who_and_what_and_no_secret_is(
    made: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    key = (await made.ask("POST", "/v1/keys", {"team": "search\u2028admin: 'root'"})).json()
    await made.ask("POST", "/v1/keys%0Aadmin: 'root' asked", {})
    await made.ask("GET", "/v1/keys")
    lines = [record.getMessage() for record in caplog.records if record.name == "tollgate"]
    assert f"made the key {key['id']} of the team" in lines[0]
    assert lines[0].startswith("admin: 'deploy' asked POST '/v1/keys' of 127.0.0.1: 201")
    assert "\u2028" not in lines[0]
    assert len(lines) == 2
    assert "\n" not in lines[1]
    assert not any(each in caplog.text for each in (WRITE, READ, key["key"]))


async def test_wrong_tokens_wait_in_a_line_that_ends_and_good_ones_do_not(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(WRITE)
    begun, open_ = list[float](), asyncio.Event()
    counted = list[str]()

    async def pause(seconds: float) -> None:
        begun.append(seconds)
        await open_.wait()

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    guard = Guard(page, Tokens({"t": AdminToken(file=tmp_path / "t")}), counted.append, pause)

    async def ask(token: str) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"authorization", f"Bearer {token}".encode())]
        await guard({"type": "http", "method": "GET", "path": "/", "headers": headers}, page, send)  # type: ignore[arg-type]
        return int(sent[0]["status"])

    wrong = [asyncio.create_task(ask("x" * 40)) for _ in range(MOST_WAITING)]
    await until(lambda: len(counted) == MOST_WAITING)
    assert begun == [PAUSE_S]  # one after the other
    assert await ask("x" * 40) == 429
    assert await ask(WRITE) == 200
    open_.set()
    assert await asyncio.gather(*wrong) == [401] * MOST_WAITING
    assert begun == [PAUSE_S] * MOST_WAITING
    assert await ask("x" * 40) == 401
