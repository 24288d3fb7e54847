"""The pages beside the data plane: for probes, for Prometheus, for clients that list models."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client import Metric
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.control_plane.api import Pages, build_api
from gateway.policy.auth import KeyRecord
from gateway.policy.resolution import Snapshot
from gateway.stores.costs import Costs
from gateway.telemetry import Telemetry
from tests.gateway.builders import NOW, key, release, settled, snapshot

COSTS = Costs(sa.create_engine("sqlite://"))
RELEASES = [release("faq@1"), release("faq@2"), release("org/shop:v1@1")]


@dataclass
class House:
    """The pages, and what they show."""

    keys: list[KeyRecord] = field(default_factory=list)
    reason: str | None = None
    now: float = NOW
    telemetry: Telemetry = field(default_factory=Telemetry)
    life: list[str] = field(default_factory=list)

    def _snapshot(self) -> Snapshot:
        return snapshot(RELEASES, keys=self.keys)

    async def _ready(self) -> str | None:
        return self.reason

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self.life.append("begins")
        yield
        self.life.append("ends")

    def app(self) -> Any:
        return build_api(
            Pages(self._snapshot, self.telemetry, lambda: self.now, self._ready, lambda: "sha256:1", COSTS),
            self._running,
        )

    async def get(self, path: str, text: str | None = None, method: str = "GET") -> httpx.Response:
        headers = {} if text is None else {"authorization": f"Bearer {text}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app()), base_url="http://gateway") as client:
            return await client.request(method, path, headers=headers)

    def may(self, first: int = 0, **changes: Any) -> str:
        text, record = key(first, **changes)
        self.keys.append(record)
        return text


@pytest.fixture
def house() -> House:
    return House()


def _code(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert response.headers["content-type"] == "application/json"
    return response.status_code, error["code"]


async def test_health_needs_no_key(house: House) -> None:
    response = await house.get("/health")
    assert (response.status_code, response.json()) == (
        200,
        {"status": "ok", "version": __version__, "config_digest": "sha256:1"},
    )


async def test_readiness_says_why_not(house: House) -> None:
    assert (await house.get("/ready")).json() == {"status": "ready"}
    house.reason = "no replica of the pool 'main' answers /health"
    response = await house.get("/ready")
    assert (response.status_code, response.json()["reason"]) == (503, house.reason)


async def test_metrics_are_prometheus(house: House) -> None:
    house.telemetry.settled(settled())
    response = await house.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.content == house.telemetry.page()


async def test_nobody_waits_while_a_page_of_metrics_is_written(house: House) -> None:
    written = threading.Event()

    class Many(Collector):
        """Thousands of series, which take a while."""

        def collect(self) -> Iterator[Metric]:
            assert written.wait(10.0)
            yield Metric("many", "", "gauge")

    house.telemetry.registry.register(Many())
    page = asyncio.create_task(house.get("/metrics"))
    assert (await house.get("/health")).status_code == 200
    written.set()
    assert b"# TYPE many gauge" in (await page).content


async def test_a_key_sees_the_models_that_it_may_use(house: House) -> None:
    everything = (await house.get("/v1/models", house.may(0))).json()
    assert everything["object"] == "list"
    assert [card["id"] for card in everything["data"]] == ["faq", "org/shop:v1"]
    assert everything["data"][0] == {
        "id": "faq",
        "object": "model",
        "created": 0,
        "owned_by": "tollgate",
        "release": "faq@1",
        "release_digest": RELEASES[0].digest,
    }
    limited = (await house.get("/v1/models", house.may(10, models=frozenset({"faq"})))).json()
    assert [card["id"] for card in limited["data"]] == ["faq"]
    assert (await house.get("/v1/models", house.may(20, models=frozenset()))).json()["data"] == []


async def test_the_harness_sees_the_releases_of_its_models_too(house: House) -> None:
    cards = (await house.get("/v1/models", house.may(scope="evaluate", models=frozenset({"faq"})))).json()["data"]
    assert [(card["id"], card["release"]) for card in cards] == [
        ("faq", "faq@1"),
        ("faq@1", "faq@1"),
        ("faq@2", "faq@2"),
    ]


async def test_one_model_is_found_by_any_name_it_may_have(house: House) -> None:
    text = house.may()
    assert (await house.get("/v1/models/faq", text)).json()["release"] == "faq@1"
    assert (await house.get("/v1/models/org/shop:v1", text)).json()["id"] == "org/shop:v1"


@pytest.mark.parametrize("name", ["nothing", "faq@1", "faq%20", "org", "x" * 4000])
async def test_a_model_that_a_key_does_not_see_is_not_there(house: House, name: str) -> None:
    answer = await house.get(f"/v1/models/{name}", house.may())
    assert _code(answer) == (404, "model_not_found")
    assert len(answer.content) < 400


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/faq"])
async def test_models_are_shown_to_good_keys_alone(house: House, path: str) -> None:
    text = house.may(expires_at=NOW + 1)
    assert (await house.get(path, text)).status_code == 200
    for wrong in (None, "nonsense", text[:-1] + "x"):
        assert _code(await house.get(path, wrong)) == (401, "invalid_api_key")
    house.now = NOW + 1
    assert _code(await house.get(path, text)) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/docs", "/openapi.json", "/health/", "/v1/models/../keys", "/%00", "/é"]
)
async def test_a_path_of_nobodys_is_a_404_in_openais_shape(house: House, path: str) -> None:
    assert _code(await house.get(path, house.may())) == (404, "unknown_url")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/v1/messages/", "/v1/messages/batches"])
async def test_below_anthropics_path_a_404_is_in_anthropics_shape(house: House, path: str, method: str) -> None:
    response = await house.get(path, house.may(), method)
    assert response.status_code == 404
    assert (response.json()["type"], response.json()["error"]["type"]) == ("error", "not_found_error")


@pytest.mark.parametrize("host", ["[", "x/?", "x/#", "a b", "h:x"])
async def test_a_path_is_told_as_it_was_asked_for_whatever_the_host_says(house: House, host: str) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    for method, path in (("GET", "/nothing"), ("POST", "/health")):
        fields = {"path": path, "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", host.encode())]}
        await house.app()({"type": "http", "method": method, **fields}, receive, send)
        assert path.encode() in said.pop()["body"]
        assert said.pop()["status"] in (404, 405)


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
async def test_another_method_is_a_405_in_openais_shape(house: House, method: str) -> None:
    assert _code(await house.get("/v1/models", house.may(), method)) == (405, "method_not_allowed")


async def test_the_loops_live_as_long_as_the_application(house: House) -> None:
    app = house.app()
    async with app.router.lifespan_context(app):
        assert house.life == ["begins"]
    assert house.life == ["begins", "ends"]
