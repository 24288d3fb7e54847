"""What each page of the admin API does to the stores of a gateway."""

from pathlib import Path
from typing import Any

import pytest

from gateway.policy.auth import authenticate
from gateway.stores.database import METADATA
from tests.gateway.admin.desk import Desk, desk
from tests.gateway.builders import NOW, Signer, release, settled, signer, verdict


@pytest.fixture
def made(tmp_path: Path) -> Desk:
    return desk(tmp_path)


async def _change(made: Desk, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = await made.ask(method, path, body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_key_from_its_making_to_its_end(made: Desk) -> None:
    wanted = {
        "name": "bot", "team": "search", "scope": "evaluate", "models": ["faq"], "days": 2, "rpm": 5, "class": "batch",
        "tags": {"project": "alpha"},
    }  # fmt: skip
    key = await _change(made, "POST", "/v1/keys", wanted, 201)
    text = key.pop("key")
    assert await made.get(f"/v1/keys/{key['id']}") == key
    assert (key["team"], key["models"], key["rpm"], key["class"], key["tags"]) == (
        "search", ["faq"], 5, "batch", {"project": "alpha"},
    )  # fmt: skip
    assert (key["created_at"], key["expires_at"], key["refusal"]) == (
        "2026-11-22T12:00:00Z", "2026-11-24T12:00:00Z", None,
    )  # fmt: skip
    stores = made.house.stores
    records = {each.id: each for each in stores.keys.all()}
    principal = authenticate(b"Bearer " + text.encode(), None, records, NOW)
    assert (principal.scope, principal.models) == ("evaluate", frozenset({"faq"}))
    path = f"/v1/keys/{key['id']}"
    changed = await _change(made, "PATCH", path, {"rpm": None, "tpm": 9, "tags": None})
    assert changed == {**key, "rpm": None, "tpm": 9, "tags": {}}
    assert await _change(made, "PATCH", path, {}) == changed
    ended = await _change(made, "POST", f"{path}/revoke")
    assert (ended["revoked_at"], ended["refusal"]) == ("2026-11-22T12:00:00Z", "this key was revoked")
    assert text not in (await made.ask("GET", "/v1/keys")).text
    assert "digest" not in ended


async def test_keys_come_in_pages_and_by_team(made: Desk) -> None:
    for number in range(5):
        await _change(made, "POST", "/v1/keys", {"name": f"k{number}", "team": f"t{number % 2}"}, 201)
    whole = await made.get("/v1/keys")
    assert (len(whole["data"]), whole["has_more"]) == (5, False)
    found, after = [], ""
    while True:
        page = await made.get(f"/v1/keys?limit=2{after}")
        found += page["data"]
        if not page["has_more"]:
            break
        after = f"&after={page['data'][-1]['id']}"
    assert found == whole["data"]
    assert {each["team"] for each in (await made.get("/v1/keys?team=t1"))["data"]} == {"t1"}
    assert (await made.ask("GET", "/v1/keys?after=000000000000")).status_code == 404


MISTAKES: tuple[tuple[str, str, Any, int, str], ...] = (
    ("POST", "/v1/keys", {"models": ["gpt"]}, 409, "it has faq"),
    ("POST", "/v1/keys", {"class": "gold"}, 409, "it has batch, interactive, standard"),
    ("POST", "/v1/keys", {"tags": {"a b": "c"}}, 400, "expected a name of letters"),
    ("POST", "/v1/keys", {"scope": "root"}, 400, "Input should be"),
    ("POST", "/v1/keys", {"days": "NaN"}, 400, "36500"),
    ("POST", "/v1/keys", {"sudo": True}, 400, "Extra inputs"),
    ("POST", "/v1/keys", {"name": "a\u0000b"}, 400, "pattern"),
    ("POST", "/v1/keys", {"rpm": 0}, 400, "greater than or equal to 1"),
    ("POST", "/v1/keys", {"rpm": True}, 400, "expected a whole number from 1, found true"),
    ("GET", "/v1/usage?since=1970-01-01", None, 400, "of the years 1971 to 9998, found '1970-01-01'"),
    ("POST", "/v1/keys", b"[" * 60_000, 400, "expected JSON"),
    ("POST", "/v1/keys", b'{"rpm": ' + b"9" * 5000 + b"}", 400, ""),
    ("PATCH", "/v1/keys/000000000000", {"rpm": 1}, 404, "GET /v1/keys"),
    ("POST", "/v1/keys/000000000000/revoke", {}, 404, "GET /v1/keys"),
    ("GET", "/v1/keys/zebra", None, 400, "pattern"),
    ("POST", "/v1/releases/promote", {"release": "faq@9"}, 404, "it has faq@1, faq@2"),
    ("POST", "/v1/releases/promote", {}, 400, "required"),
    ("GET", "/v1/usage?by=password", None, 400, "expected some of model"),
    ("GET", "/v1/usage?since=yesterday", None, 400, "expected a date"),
    ("GET", "/v1/costs?since=2026-01-02&until=2026-01-01", None, 400, "expected `since` before"),
    ("GET", "/v1/costs?sudo=1", None, 400, "Extra inputs"),
    ("GET", "/v1/requests/tg-9", None, 404, "once it has ended"),
    ("POST", "/v1/keys", {"team": "__idle__"}, 409, "the team '__idle__' is nobody's"),
)


async def test_a_mistake_is_told_and_changes_nothing(made: Desk) -> None:
    for method, path, body, status, told in MISTAKES:
        answer = await made.ask(method, path, body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), path
        assert told in answer.json()["error"]["message"]
    assert (await made.get("/v1/keys"))["data"] == []


async def test_a_release_is_promoted_by_its_gate_alone(tmp_path: Path) -> None:
    gate: Signer = signer(tmp_path)
    asking = {"mode": "require", "trusted_keys": ["gate.pub"], "verdicts": "verdicts"}
    made = desk(tmp_path, enforcement=asking)
    answer = await made.ask("POST", "/v1/releases/promote", {"release": "faq@2"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "release_not_gated")
    assert "no verdict" in answer.text
    assert made.house.stores.releases.promoted() == {}
    gate.write(tmp_path / "verdicts", verdict(release("faq@2").digest, name="faq@2"))
    done = await _change(made, "POST", "/v1/releases/promote", {"release": "faq@2"})
    assert (done["live"], done["verdict"], done["refusal"]) == (True, "pass", None)
    listed = {each["release"]: each for each in (await made.get("/v1/releases"))["data"]}
    assert (listed["faq@1"]["live"], listed["faq@2"]) == (False, done)


async def test_budgets_say_what_is_spent_and_left(made: Desk) -> None:
    found = (await made.get("/v1/budgets"))["data"]
    assert [(each["budget"], each["of"], each["spent"], each["left"], each["reserved"]) for each in found] == [
        ("search", "team=search", "0.50", "9.50", None),
        ("each", "key=k", "0.50", "4.50", None),
    ]


async def test_without_budgets_the_list_is_empty(tmp_path: Path) -> None:
    assert await desk(tmp_path, budgets={}).get("/v1/budgets") == {"data": []}


async def test_usage_is_of_whom_one_asks_for(made: Desk) -> None:
    made.house.stores.ledger.insert([settled("tg-2", started_at=NOW - 3600, team="sales", key_id="s", cost="0.25")])
    whole = await made.get("/v1/usage?by=team,key&since=2026-11-22&until=2026-11-23")
    assert {each["group"]["team"]: each["list_cost"] for each in whole["data"]} == {
        "search": "0.500000000", "sales": "0.250000000",
    }  # fmt: skip
    assert whole["total"]["requests"] == 2
    one = await made.get("/v1/usage?team=sales&by=model")
    assert (one["where"], one["total"]["requests"], one["data"][0]["group"]) == ({"team": "sales"}, 1, {"model": "faq"})
    assert (await made.get("/v1/usage?key=nobody"))["total"]["requests"] == 0
    assert (await made.get("/v1/usage?since=2026-11-01&until=2026-11-02"))["data"] == []


async def test_costs_are_the_report_and_close_no_hour(made: Desk) -> None:
    found = await made.get("/v1/costs?by=team,model&since=2026-11-22&until=2026-11-23")
    assert (found["since"], found["until"]) == ("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z")
    (row,) = found["rows"]
    assert (row["team"], row["model"], row["list_cost"], row["allocated"]) == ("search", "faq", "0.500000000", None)
    assert any("Unknown, and never counted as zero" in note for note in found["notes"])
    assert made.house.stores.costs.hours(None, None) == []


async def test_a_request_is_decided_again(made: Desk) -> None:
    found = await made.get("/v1/requests/tg-1")
    assert (found["request_id"], found["outcome"], found["same"], found["rules"]) == ("tg-1", "completed", True, [])


async def test_the_configuration_is_read_and_what_is_wrong_with_it_is_told(made: Desk) -> None:
    before = await made.get("/v1/config")
    assert before["refusal"] is None
    made.mistake = "gateway.yaml: line 1: not valid YAML"
    told = await _change(made, "POST", "/v1/config/reload")
    assert told == {**before, "refusal": {"at": "2026-11-22T12:00:00Z", "reason": made.mistake}}
    assert await made.get("/v1/config") == told
    made.mistake = ""
    assert await _change(made, "POST", "/v1/config/reload") == before


async def test_a_database_that_is_away_is_a_503_and_no_defect(made: Desk) -> None:
    METADATA.drop_all(made.house.stores.database)
    for path in ("/v1/keys", "/v1/releases", "/v1/budgets", "/v1/usage", "/v1/costs", "/v1/requests/tg-1"):
        answer = await made.ask("GET", path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable"), path
    assert set(made.counted) == {"failed"}
