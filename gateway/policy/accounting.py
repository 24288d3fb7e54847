"""The facts of one admitted request, and the ledger row that they make."""

from decimal import Decimal

import msgspec

from gateway.config import Release
from gateway.contracts.ledger import GATEWAY_LOST, UNDECIDED, LedgerRow
from gateway.contracts.prices import PriceBook
from gateway.contracts.usage import Usage
from gateway.policy.auth import Principal
from gateway.policy.decisions import Decided, Routed, encode
from gateway.policy.estimate import Demand
from gateway.policy.shapes import Request

_json = msgspec.json.Encoder().encode

COUNTED_FOR_EACH = ("chat", "completions")
"""Wires whose `n` engines read; others have fields of that name that nobody reads."""
COSTLESS = frozenset(
    {
        "invalid_request", "context_length_exceeded", "queue_full", "queue_timeout", "upstream_unavailable",
        "upstream_overloaded",
    }
)  # fmt: skip
"""Outcomes with which no engine has generated anything."""
KEPT_BLOCKS = 4
"""Of a prompt's blocks every fourth is kept, about 512 tokens each, as in public traces."""


class Account(msgspec.Struct, eq=False, gc=False):
    """What is known of a request so far. Durations in seconds; `usage` is the engine's own count, or None.

    `received_s` is when all of the request was there, in seconds from its start.
    `dispatched_s` is when the last replica was asked, None when it could not be, or would not compute anything.
    `tries` are the attempts that failed, (replica, from, until) in seconds from the start, the last one too.

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
    dispatched_s: float | None = None
    tries: list[tuple[str, float, float]] | None = None
    received_s: float = 0.0
    _priced: Usage | None = None
    _cost: Decimal | None = None

    def cost(self, book: PriceBook) -> Decimal | None:
        """The list cost so far."""
        if self._priced is not self.usage:
            self._priced = self.usage
            self._cost = book.cost(self.release.model, self.usage, self.admitted.started_at)
        return self._cost

    def ruled(self, config: str, ruled: msgspec.Raw) -> None:
        """The rules of a model decided (`rules.Decision.ruled`), by a configuration's digest."""
        if self.decided is None:
            self.decided = Decided(config, [ruled])
        else:
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

    def failed(self, until_s: float) -> None:
        """The attempt has failed, so many seconds from the start, and took time of its replica until then."""
        if self.replica is not None and self.dispatched_s is not None:
            self.tries = [*(self.tries or ()), (self.replica, self.dispatched_s, until_s)]

    @property
    def tokens(self) -> int | None:
        """What the request took: 0 where no engine has generated anything, None where the engine did not say."""
        if self.usage is not None:
            return self.usage.input_tokens + self.usage.output_tokens
        return 0 if self.attempts == 0 or self.outcome in COSTLESS else None

    def settled(self, book: PriceBook, duration_s: float) -> LedgerRow:
        """The final row."""
        usage = self.usage
        cost = self._cost if self._priced is usage else self.cost(book)
        # In two steps: a call with more than 15 keywords takes three times as long, and most rows need no more.
        row = msgspec.structs.replace(
            self.admitted,
            outcome=self.outcome,
            status=self.status,
            replica=self.replica,
            attempts=self.attempts,
            input_tokens=None if usage is None else usage.input_tokens,
            cached_tokens=None if usage is None else usage.cached_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            reasoning_tokens=None if usage is None else usage.reasoning_tokens,
            cost=None if cost is None else format(cost, "f"),
            first_byte_s=self.first_byte_s,
            duration_s=duration_s,
            decision=UNDECIDED if self.decided is None else encode(self.decided),
            dispatched_s=self.dispatched_s,
        )
        times, tries, release = None if usage is None else usage.times, self.tries, self.release
        if times is None and tries is None and release.name == row.release:
            return row
        return msgspec.structs.replace(
            row,
            release=release.name,
            release_digest=release.digest,
            tries=None if tries is None else self._others(tries),
            engine_queue_s=None if times is None else times.queue_s,
            engine_prefill_s=None if times is None else times.prefill_s,
        )

    def _others(self, tries: list[tuple[str, float, float]]) -> str | None:
        """The JSON of the attempts that failed, without the one that the row itself speaks of."""
        own = self.replica, self.dispatched_s
        others = [each for each in tries if each[:2] != own]
        return _json(others).decode() if others else None


def admit(
    request_id: str,
    now: float,
    principal: Principal,
    request: Request,
    release: Release,
    book: PriceBook,
    region: str | None = None,
    tags: str | None = None,
) -> Account:
    """The account of a request that passed every check. `tags` is JSON."""
    row = LedgerRow(
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
        region=region,
    )
    if tags is not None:
        row = msgspec.structs.replace(row, tags=tags)
    if request.choices > 1 and request.endpoint.wire in COUNTED_FOR_EACH:
        row = msgspec.structs.replace(row, choices=request.choices)
    return Account(row, release)
