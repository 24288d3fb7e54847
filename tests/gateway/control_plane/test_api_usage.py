"""`GET /v1/usage`: a key is answered with its own rows, whatever others have done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control_plane.api import Pages, build_api
from gateway.costs.closing import close
from gateway.policy.auth import KeyRecord
from gateway.stores.bundle import Stores, open_stores
from gateway.telemetry import Telemetry
from tests.drawing import often
from tests.gateway.builders import NOW, key, settled, snapshot

DAY = "since=2026-11-22&until=2026-11-23"


@asynccontextmanager
async def _running() -> AsyncIterator[None]:
    yield


async def _ready() -> str | None:
    return None


@dataclass
class House:
    """The page over a database."""

    stores: Stores
    keys: list[KeyRecord] = field(default_factory=list)
    now: float = NOW

    def may(self, first: int = 0, **changes: Any) -> tuple[str, str]:
        """(text, id) of a new key."""
        text, record = key(first, **changes)
        self.keys.append(record)
        return text, record.id

    async def get(self, text: str | None, query: str = DAY, method: str = "GET") -> httpx.Response:
        pages = Pages(
            lambda: snapshot(keys=self.keys), Telemetry(), lambda: self.now, _ready, lambda: "", self.stores.costs
        )
        headers = {} if text is None else {"authorization": f"Bearer {text}"}
        transport = httpx.ASGITransport(build_api(pages, _running))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, f"/v1/usage?{query}", headers=headers)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}"))


async def test_a_key_sees_what_it_used(house: House) -> None:
    text, key_id = house.may()
    house.stores.ledger.insert(
        [
            settled("a", key_id=key_id, cost="0.25", cached_tokens=1, tags='{"project":"alpha"}'),
            settled("b", key_id=key_id, model="other", input_tokens=None, output_tokens=None),
            settled("c", key_id="another", cost="5"),
            settled("d", key_id=key_id, started_at=NOW - 86_400),
        ]
    )
    page = (await house.get(text, f"{DAY}&by=model")).json()
    assert page["key"] == key_id
    faq, other = sorted(page["data"], key=lambda each: str(each["group"]))
    assert faq["group"] == {"model": "faq"}
    assert (faq["requests"], faq["input_tokens"], faq["cached_tokens"], faq["output_tokens"]) == (1, 3, 1, 2)
    assert (Decimal(faq["list_cost"]), faq["currency"], faq["unpriced"]) == (Decimal("0.25"), "USD", 0)
    assert (other["list_cost"], other["unpriced"], other["unmetered"]) == (None, 1, 1)
    assert (page["total"]["requests"], page["total"]["gpu_cost"], page["total"]["unallocated"]) == (2, None, 2)
    tagged = (await house.get(text, f"{DAY}&by=tag:project")).json()["data"]
    assert {each["group"]["tag:project"]: each["requests"] for each in tagged} == {"alpha": 1, "none": 1}


@pytest.mark.parametrize(
    ("changes", "said"), [({"revoked_at": NOW}, "revoked"), ({"expires_at": NOW}, "expired"), (None, "no API key")]
)
async def test_a_key_that_is_not_good_sees_nothing(house: House, changes: dict[str, float] | None, said: str) -> None:
    text = None if changes is None else house.may(**changes)[0]
    response = await house.get(text)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    assert said in response.json()["error"]["message"]


@pytest.mark.parametrize("query", ["since=soon", "key=other", "by=team", "since=2020-01-01&until=2026-01-01"])
async def test_what_cannot_be_asked_is_a_400_in_openais_shape(house: House, query: str) -> None:
    response = await house.get(house.may()[0], query)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "invalid_request")
    assert error["param"] == query.partition("=")[0]


async def test_it_takes_get_alone(house: House) -> None:
    response = await house.get(house.may()[0], method="POST")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_a_database_that_is_away_is_one_clear_error(house: House) -> None:
    text, _ = house.may()
    with house.stores.costs._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE ledger")
    response = await house.get(text)
    assert response.status_code == 500
    assert "ask again" in response.json()["error"]["message"]


ROW = st.tuples(
    st.integers(0, 3), st.sampled_from(["search", "sales"]), st.sampled_from(["faq", "other"]), st.integers(0, 1000),
    st.integers(0, 10**9),
)  # fmt: skip


@settings(max_examples=often(12, thorough=200))
@given(st.lists(ROW, max_size=12), st.booleans())
def test_each_key_sees_its_own_sums_and_no_others(rows: list[tuple[int, str, str, int, int]], closed: bool) -> None:
    with TemporaryDirectory() as folder:
        house = House(open_stores(f"sqlite:///{folder}/tollgate.db"))
        keys = [house.may(first * 100) for first in range(4)]
        house.stores.ledger.insert(
            [
                settled(
                    f"tg-{at}", key_id=keys[who][1], team=team, model=model, input_tokens=tokens, output_tokens=1,
                    cost=format(Decimal(nano).scaleb(-9), "f"),
                )
                for at, (who, team, model, tokens, nano) in enumerate(rows)
            ]
        )  # fmt: skip
        if closed:
            assert bool(close(house.stores, NOW + 7200.0)) == bool(rows)
        for at, (text, _) in enumerate(keys):
            page = asyncio.run(house.get(text, f"{DAY}&by=model")).json()
            own = [row for row in rows if row[0] == at]
            assert page["total"]["requests"] == len(own)
            assert page["total"]["input_tokens"] == sum(row[3] for row in own)
            assert Decimal(page["total"]["list_cost"]) == sum(Decimal(row[4]) for row in own) / 10**9
            by_model = {line["group"]["model"]: line["input_tokens"] for line in page["data"]}
            assert by_model == {
                model: sum(row[3] for row in own if row[2] == model) for model in {row[2] for row in own}
            }
        house.stores.costs._engine.dispose()
