"""A request and the budgets beside it, without a gateway: what `gateway.budgeting` needs, made by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import OperationalError

from gateway.asgi import AsgiClient
from gateway.budgeting import Budgeting
from gateway.client import Client
from gateway.config import Timeouts
from gateway.contracts.ledger import LedgerRow
from gateway.policy.accounting import Account
from gateway.policy.auth import Principal
from gateway.policy.budgets import Budgets, Claim, Counter, Outcome, Standing
from gateway.policy.ceilings import Ceiling, Rate
from gateway.policy.endpoints import CHAT
from gateway.policy.estimate import Demand
from gateway.policy.request import parse
from gateway.policy.shapes import Request
from gateway.settings.budgets import BudgetConfig
from gateway.settings.profile import A10G
from gateway.stores.budget_book import BookAway
from gateway.stores.memory_budgets import MemoryBook
from gateway.stores.spend import Spend
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream
from tests.gateway import builders
from tests.gateway.builders import NOW

RATE = Rate(1e6, A10G.step)
BODY = b'{"model":"faq","messages":[],"max_tokens":100}'
MOST = (len(BODY) + 512) * 1000 + 100 * 2000
"""Nano that the request below may cost at most."""


@dataclass
class Asked:
    """A request, as the data plane has it."""

    client: Client
    account: Account
    principal: Principal = field(default_factory=builders.principal)
    request: Request = field(default_factory=lambda: parse(BODY, CHAT))
    demand: Demand = field(default_factory=Demand)
    timeouts: Timeouts = field(default_factory=Timeouts)
    lines: bytes = b""


async def _nothing(*told: Any) -> dict[str, Any]:
    return {}


def asked(request_id: str = "tg-1", **changes: Any) -> Asked:
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    account = Account(builders.row(request_id, **changes), builders.release())
    return Asked(AsgiClient(scope, _nothing, _nothing), account)  # type: ignore[arg-type]


def budgets(**configs: dict[str, Any]) -> Budgets:
    made = {name: BudgetConfig(**{"team": "search", "amount": "1", **each}) for name, each in configs.items()}
    return Budgets(made, {"faq": Ceiling(10**9, 2 * 10**9, (RATE,))}, rates={"main": RATE})


class Recorded(Spend):
    """What the ledger says is spent, how often it was asked, and whether it is away."""

    def __init__(self, spent: int = 0, corrected: int = 0) -> None:
        self.says, self.corrects, self.asked, self.away = spent, corrected, 0, False

    def spent(self, counter: Counter, currency: str) -> int:
        self.asked += 1
        if self.away:
            raise OperationalError("select", None, Exception("gone"))
        return self.says

    def corrected(self, counter: Counter, since: float) -> int:
        return self.corrects


class Away(MemoryBook):
    """A book that nobody can ask."""

    async def reserve(self, lease: str, claims: Sequence[Claim], seconds: float) -> Outcome:
        raise BookAway("away")

    async def standings(self, counters: Sequence[str]) -> list[tuple[Standing, float] | None]:
        raise BookAway("away")


class Forgetful(MemoryBook):
    """A book that loses what it is told."""

    async def load(self, counter: str, spent: int, at: float, keep_until: float) -> None:
        """Nothing stays."""


def budgeting(
    spend: Recorded | None = None,
    kind: type[MemoryBook] = MemoryBook,
    clock: Callable[[], float] = lambda: NOW,
    **changes: Any,
) -> tuple[Budgeting, Telemetry]:
    telemetry = Telemetry()
    made = Budgeting(
        lambda heard: kind(lambda: NOW, lambda: NOW, heard), spend or Recorded(), telemetry, clock,
        builders.nothing, **changes,
    )  # fmt: skip
    return made, telemetry


async def stands(made: Budgeting, of: Budgets, name: str) -> Standing:
    (found,) = await made.book.standings([of.of(name, "", NOW).id])
    assert found is not None
    return found[0]


def settle(made: Budgeting, lease: Any, request: Asked, replicas: Sequence[Upstream] = (), **ended: Any) -> LedgerRow:
    values = {"outcome": "completed", "status": 200, "attempts": 1, "replica": "main-0", **ended}
    row = builders.row(request.account.admitted.request_id, **values)
    return made.settle(lease, row, request.account, replicas)
