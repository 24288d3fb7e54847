"""The admin API over real stores, without a socket."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from gateway import config
from gateway.admin.api import build
from gateway.admin.guard import App
from gateway.admin.house import House
from gateway.admin.reloads import Reloads
from gateway.admin.tokens import Tokens
from gateway.config import Deployment
from gateway.settings.admin import AdminToken
from gateway.stores.budget_books import book_of
from gateway.stores.bundle import open_stores
from tests.gateway.builders import NOW, settled, write_config

WRITE, READ = "w" * 40, "r" * 40
PRICES = 'version: "one"\nmodels: {faq: {input: "1", output: "2"}}\n'


class Asked(asyncio.Event):
    """Whoever sets it has the configuration read at once, as `follow` does a little later."""

    def __init__(self) -> None:
        super().__init__()
        self.take: Callable[[], Any] = lambda: None
        self.tasks: set[asyncio.Task[Any]] = set()

    def set(self) -> None:
        """Read it."""
        self.tasks.add(asyncio.get_running_loop().create_task(self.take()))


@dataclass
class Desk:
    """`counted` are the results that were counted, `paused` the seconds that wrong tokens waited."""

    folder: Path
    house: House
    app: App
    deployment: Deployment
    mistake: str = ""
    counted: list[str] = field(default_factory=list)
    paused: list[float] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, body: Any = None, token: str | None = WRITE, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """One request; without a body, an empty one of JSON where it changes something."""
        told = {} if token is None else {"authorization": f"Bearer {token}"}
        given: dict[str, Any] = {} if method == "GET" else {"json": {} if body is None else body}
        if isinstance(body, bytes):
            given = {"content": body}
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
            return await client.request(method, path, headers={**told, **(headers or {})}, **given)

    async def get(self, path: str) -> Any:
        """A page that there is."""
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()


def desk(folder: Path, clock: Callable[[], float] = lambda: NOW, **changes: Any) -> Desk:
    """faq@1 (live) and faq@2 with prices and two budgets; the ledger has one row of the team search."""
    (folder / "prices.yaml").write_text(PRICES)
    budgets = {
        "search": {"team": "search", "amount": "10", "per": "day"},
        "each": {"each": "key", "amount": "5", "per": "total"},
    }
    path = write_config(folder, **{"prices": "prices.yaml", "budgets": budgets, **changes})
    deployed = config.load(path, trust=True)
    stores = open_stores(deployed.config.database)
    stores.price_books.register(deployed.prices, NOW)
    stores.ledger.insert([settled("tg-1", started_at=NOW - 7200, cost="0.5", price_version="one", replica="main-0")])
    for name in ("write", "read"):
        (folder / f"{name}.token").write_text({"write": WRITE, "read": READ}[name])
    tokens = Tokens(
        {
            "deploy": AdminToken(role="write", file=folder / "write.token"),
            "looks": AdminToken(file=folder / "read.token"),
        }
    )
    book = book_of(None, None, clock, clock)(lambda name, before, after: None)
    asked = Asked()
    made: Desk

    async def pause(seconds: float) -> None:
        made.paused.append(seconds)

    reloads = Reloads(asked, lambda: made.mistake, clock)
    house = House(stores, lambda: made.deployment, CollectorRegistry().collect, book, reloads, clock)
    counted = list[str]()
    app = build(house, tokens, counted.append, pause=pause)
    made = Desk(folder, house, app, deployed, counted=counted)

    async def take(found: Deployment | None) -> str | None:
        made.deployment = found or made.deployment
        return None if found is not None else "refused"

    noted = reloads.noting(take)
    asked.take = lambda: noted(None if made.mistake else made.deployment)
    return made
