"""The facts of one admitted request, and the ledger row that they make."""

from decimal import Decimal

import msgspec

from gateway.config import Release
from gateway.contracts.ledger import GATEWAY_LOST, LedgerRow
from gateway.contracts.prices import PriceBook
from gateway.contracts.usage import Usage
from gateway.policy.auth import Principal
from gateway.policy.decisions import Decided, Routed, encode
from gateway.policy.estimate import Demand
from gateway.policy.shapes import Request

KEPT_BLOCKS = 4
"""Of a prompt's blocks every fourth is kept, about 512 tokens each, as in public traces."""


class Account(msgspec.Struct, eq=False, gc=False):
    """What is known of a request so far. Durations in seconds; `usage` is the engine's own count, or None.

    `release` answers: another model's than the one asked for, when that could not. Its price counts then.
    `decided` is None where there was nothing to decide.
    """

    admitted: LedgerRow
    release: Release
    outcome: str = GATEWAY_LOST
    status: int = 0
    replica: str | None = None
    attempts: int = 0
    usage: Usage | None = None
    first_byte_s: float | None = None
    decided: Decided[msgspec.Raw] | None = None
    _priced: Usage | None = None
    _cost: Decimal | None = None

    def cost(self, book: PriceBook) -> Decimal | None:
        """The list cost so far."""
        if self._priced is not self.usage:
            self._priced, self._cost = self.usage, book.cost(self.release.model, self.usage)
        return self._cost

    def ruled(self, config: str, ruled: msgspec.Raw) -> None:
        """The rules of a model decided (`rules.Decision.ruled`), by a configuration's digest."""
        if self.decided is None:
            self.decided = Decided(config)
        self.decided.ruled.append(ruled)

    def waited(self, config: str, seconds: float) -> None:
        """It waited for a replica."""
        if self.decided is None:
            self.decided = Decided(config)
        self.decided.queued_s += seconds

    def routed(self, config: str, demand: Demand, routed: Routed) -> None:
        """A replica was chosen among several."""
        decided = self.decided
        if decided is None:
            decided = self.decided = Decided(config)
        if demand.blocks and not decided.blocks:
            decided.blocks = list(demand.blocks[KEPT_BLOCKS - 1 :: KEPT_BLOCKS])
            decided.block_tokens = KEPT_BLOCKS * demand.block_tokens
        decided.routes.append(routed)

    @property
    def tokens(self) -> int | None:
        """What the request took: 0 where no engine saw it, None where the engine did not say."""
        if self.usage is not None:
            return self.usage.input_tokens + self.usage.output_tokens
        return None if self.attempts else 0

    def settled(self, book: PriceBook, duration_s: float) -> LedgerRow:
        """The final row."""
        usage = self.usage
        cost = self._cost if self._priced is usage else self.cost(book)
        return msgspec.structs.replace(
            self.admitted,
            release=self.release.name,
            release_digest=self.release.digest,
            outcome=self.outcome,
            status=self.status,
            replica=self.replica,
            attempts=self.attempts,
            input_tokens=None if usage is None else usage.input_tokens,
            cached_tokens=None if usage is None else usage.cached_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            cost=None if cost is None else format(cost, "f"),
            first_byte_s=self.first_byte_s,
            duration_s=duration_s,
            decision=None if self.decided is None else encode(self.decided),
        )


def admit(
    request_id: str, now: float, principal: Principal, request: Request, release: Release, book: PriceBook
) -> Account:
    """The account of a request that passed every check."""
    return Account(
        LedgerRow(
            request_id=request_id,
            started_at=now,
            key_id=principal.key_id,
            team=principal.team,
            purpose="evaluate" if principal.scope == "evaluate" else "serve",
            model=release.model,
            release=release.name,
            release_digest=release.digest,
            endpoint=request.endpoint.path,
            stream=request.stream,
            outcome=GATEWAY_LOST,
            status=0,
            currency=book.currency,
            price_version=book.version,
        ),
        release,
    )
