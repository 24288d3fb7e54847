"""The ledger row: one for each admitted request, whatever became of it."""

from typing import Literal

import msgspec

from gateway.contracts.errors import REQUEST_ERRORS

COMPLETED = "completed"
CLIENT_CLOSED = "client_closed"
GATEWAY_LOST = "gateway_lost"
"""The gateway died between admission and the end."""

OUTCOMES: frozenset[str] = frozenset({COMPLETED, CLIENT_CLOSED, GATEWAY_LOST, *(e.code for e in REQUEST_ERRORS)})

Purpose = Literal["serve", "evaluate", "probe"]
"""Who the request was for: a client, the harness, or the gateway itself, which asks a new engine what it is."""


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request.

    Times are seconds since the epoch (UTC); durations are seconds; `cost` is a decimal in text, in `currency`, None
    when the model is unpriced or the engine reported no usage; token counts are None when the engine reported none.
    `decision` is JSON: what was decided of the request, and from what, so that it can be decided again.
    """

    request_id: str
    started_at: float
    key_id: str
    team: str
    purpose: Purpose
    model: str
    release: str
    release_digest: str
    endpoint: str
    stream: bool
    outcome: str
    status: int
    replica: str | None = None
    attempts: int = 1
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    cost: str | None = None
    currency: str = "USD"
    price_version: str = "none"
    first_byte_s: float | None = None
    duration_s: float = 0.0
    decision: str | None = None
