"""The application behind the guard: its pages, its errors, and what it says of itself."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.admin.api import described
from tests.gateway.admin.desk import Desk, desk

PAGES = {
    ("GET", "/v1/keys"), ("POST", "/v1/keys"), ("GET", "/v1/keys/{key_id}"), ("PATCH", "/v1/keys/{key_id}"),
    ("POST", "/v1/keys/{key_id}/revoke"), ("GET", "/v1/releases"), ("POST", "/v1/releases/promote"),
    ("GET", "/v1/budgets"), ("GET", "/v1/usage"), ("GET", "/v1/costs"), ("GET", "/v1/replicas"), ("GET", "/v1/config"),
    ("POST", "/v1/config/reload"), ("GET", "/v1/requests/{request_id}"),
}  # fmt: skip
"""Every page; a new one is a decision, taken here too."""


@pytest.fixture
def made(tmp_path: Path) -> Desk:
    return desk(tmp_path)


async def test_it_describes_itself_and_what_it_refuses(made: Desk) -> None:
    document = await made.get("/openapi.json")
    pages = {(method.upper(), path): each for path, page in document["paths"].items() for method, each in page.items()}
    assert set(pages) == PAGES
    assert (document["security"], document["components"]["securitySchemes"]["token"]["scheme"]) == (
        [{"token": []}], "bearer",
    )  # fmt: skip
    for each in pages.values():
        assert {"400", "401", "403", "404", "409", "413", "415", "429", "503"} <= set(each["responses"])
        assert "422" not in each["responses"]
    assert "ValidationError" not in json.dumps(document)
    for name, schema in document["components"]["schemas"].items():
        assert schema["additionalProperties"] is False, name


async def test_a_page_that_is_not_there_and_a_method_that_is_not_taken(made: Desk) -> None:
    for path in ("/", "/docs", "/redoc", "/v1/keys/", "/v1", "/v1/admin", "/metrics", "/health"):
        answer = await made.ask("GET", path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url"), path
    answer = await made.ask("DELETE", "/v1/keys")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"]


async def test_a_defect_is_a_500_that_tells_nothing(made: Desk) -> None:
    """The only way to one that is known: a handler that was broken on purpose."""

    async def broken() -> Any:
        raise RuntimeError("a secret")

    api = described(made.house)
    api.add_api_route("/v1/broken", broken)
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        answer = await client.get("/v1/broken")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "a secret" not in answer.text


async def test_a_lost_file_of_the_operators_is_a_conflict(tmp_path: Path) -> None:
    from_key = {"mode": "warn", "trusted_keys": ["gate.pub"], "verdicts": "verdicts"}
    (tmp_path / "gate.pub").write_text("no key")
    with pytest.raises(Exception, match=r"gate\.pub"):
        desk(tmp_path, enforcement=from_key)
    made = desk(tmp_path)
    enforcement = made.deployment.config.enforcement.model_copy(
        update={"mode": "warn", "trusted_keys": (tmp_path / "gate.pub",)}
    )
    changed = made.deployment.config.model_copy(update={"enforcement": enforcement})
    made.deployment = type(made.deployment)(changed, made.deployment.releases, made.deployment.prices)
    answer = await made.ask("GET", "/v1/releases")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
