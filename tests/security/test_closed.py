"""Nothing administrative is reachable on the port of clients: `test_admin.py` has the port of operators."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts import documents
from gateway.contracts.errors import DocumentError
from gateway.policy.endpoints import ENDPOINTS
from tests.gateway.builders import write_config
from tests.gateway.cli.test_check import _check as check_config
from tests.security.front import BODY, CHAT, HELLO, Front, front, request

METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "MKCOL",
    "PURGE",
    "SUBSCRIBE",
)
PAGES = {"/health", "/ready", "/metrics", "/v1/models", "/v1/models/{name:path}", "/v1/usage"}
"""Every page beside the data plane. Each only reads; a new one is a decision, taken here too."""
ADMINISTRATIVE = (
    "keys", "key/generate", "key/delete", "key/update", "teams", "user/new", "config", "config/update", "reload",
    "restart", "shutdown", "releases", "releases/promote", "promote", "budgets", "ledger", "prices", "verdicts",
    "engines", "replicas", "drain", "debug", "debug/pprof", "admin", "ui", "login", "sso", "docs", "redoc",
    "openapi.json", "mcp", "mcp-rest/test", "guardrails/test", "plugins", "callbacks", "test", "eval", "exec",
    "sql", "env", ".env", ".git/config", "metrics/reset", "cache", "cache/flush", "routes", "spool", "workers",
    "files", "batches", "assistants", "fine_tuning/jobs", "vector_stores",
)  # fmt: skip


def _state(house: Front) -> Any:
    """What an administrator could have changed."""
    current = house.gateway.app.current
    with house.gateway.stores.database.connect() as database:
        rows = [tuple(row) for row in database.exec_driver_sql("SELECT * FROM keys ORDER BY id")]
        live = [tuple(row) for row in database.exec_driver_sql("SELECT * FROM live")]
    snapshot = house.gateway.app.state.snapshot
    return rows, live, current.digest, dict(snapshot.live), sorted(snapshot.keys), sorted(snapshot.releases)


def test_the_pages_are_these_and_each_only_reads(house: Front) -> None:
    routes = house.gateway.app.api.routes
    assert all(isinstance(route, APIRoute) for route in routes), "no page of documentation, no mount, no socket"
    assert {route.path for route in routes if isinstance(route, APIRoute)} == PAGES
    assert {frozenset(route.methods) for route in routes if isinstance(route, APIRoute)} == {frozenset({"GET"})}


def test_no_method_on_any_path_changes_anything_for_anybody(house: Front) -> None:
    before = _state(house)
    paths = [*ENDPOINTS, "/health", "/ready", "/metrics", "/v1/models", "/v1/models/faq", "/v1/usage"]
    for path in paths:
        for method in METHODS:
            for key in (None, house.key, house.evaluate, house.admin):
                told = request(method.encode(), path.encode(), key=key, body=b"{}" if method != "HEAD" else b"")
                statuses = [answer[0] for answer in house.says(told)]
                assert method == "HEAD" or len(statuses) == 1
                assert not {status for status in statuses if status == 200 and method != "GET"}, (method, path)
    assert _state(house) == before


@given(data=st.data())
def test_what_administrators_of_other_gateways_ask_for_is_not_there(house: Front, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(["/", "/v1/", "/admin/", "/api/", "/v1/models/../", "/internal/"]))
    path += data.draw(st.sampled_from(ADMINISTRATIVE)) + data.draw(st.sampled_from(["", "/", "?a=1", "/x"]))
    method = data.draw(st.sampled_from(METHODS[:6]))
    key = data.draw(st.sampled_from([None, house.key, house.admin]))
    for status, _, body in house.says(request(method.encode(), path.encode(), key=key, body=BODY)):
        # What stands behind /v1/models/ names a model, and there is none of that name.
        models = path.startswith("/v1/models/")
        assert status in ((401, 404, 405) if models else (404,)), (method, path)
        assert models or body == b"" or b"unknown_url" in body
    assert house.heard() == []


def test_an_admins_key_is_told_more_and_may_no_more(house: Front) -> None:
    plain, told = house.chat(), house.chat(key=house.admin)
    more = {name for name, _ in told.headers} - {name for name, _ in plain.headers}
    assert (plain.status, told.status) == (200, 200)
    assert all(name.startswith("x-tollgate-") for name in more)
    assert house.chat(key=house.admin, model="faq@1").status == house.chat(model="faq@1").status == 403
    house.heard()


def test_without_a_single_key_nobody_is_let_in(tmp_path: Path) -> None:
    """There is no mode in which a missing configuration means that everybody is trusted, from this machine too."""
    with front(tmp_path) as house:
        for record in house.gateway.stores.keys.all():
            house.gateway.stores.keys.revoke(record.id, 1.0)
        house.gateway.app.state.refresh()
        for headers in ({}, {"authorization": "Bearer "}, {"x-forwarded-for": "127.0.0.1"}, {"host": "localhost"}):
            assert house.ask("POST", CHAT, HELLO, headers).status == 401
            assert house.ask("GET", "/v1/models", headers=headers).status == 401
        assert house.heard() == []


def _bomb(depth: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, depth)]
    return "\n".join(lines)


BOMBS = {
    "aliases": _bomb(30),
    "a merge": "a: &a {x: 1}\nb: {<<: *a}\n",
    "itself": "a: &a [*a]\n",
    "brackets": "[" * 100_000,
    "braces": "{a: " * 50_000,
    "size": "a: " + "b" * documents.MAX_BYTES,
    "code": "a: !!python/object/apply:os.system ['false']\n",
    "an object": "a: !!python/object:gateway.config.GatewayConfig {}\n",
    "a date": "a: " + "9" * 5000 + "-01-01\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_explodes_is_a_mistake_with_its_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DocumentError):
        documents.load(_written(tmp_path / "bomb.yaml", BOMBS[name]), documents.Secret)


@pytest.mark.parametrize("file", ["gateway.yaml", "faq@1.yaml", "prices.yaml"])
def test_so_it_is_wherever_it_stands(tmp_path: Path, file: str) -> None:
    path = write_config(tmp_path, prices="prices.yaml")
    _written(tmp_path / "prices.yaml", "version: v\nmodels: {faq: unpriced}\n")
    assert check_config(path).exit_code == 0
    _written(tmp_path / file, BOMBS["aliases"])
    result = check_config(path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert file in result.stderr
    assert re.search("line 2.*: YAML aliases", result.stderr)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
