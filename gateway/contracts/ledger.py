"""The ledger row: one for each admitted request, whatever became of it."""

from typing import Literal

import msgspec

from gateway.contracts.errors import REQUEST_ERRORS

COMPLETED = "completed"
CLIENT_CLOSED = "client_closed"
GATEWAY_LOST = "gateway_lost"
"""The gateway died between admission and the end."""

OUTCOMES: frozenset[str] = frozenset({COMPLETED, CLIENT_CLOSED, GATEWAY_LOST, *(e.code for e in REQUEST_ERRORS)})

UNDECIDED = msgspec.Raw()
"""The decision of a row of which nothing was decided."""

Purpose = Literal["serve", "evaluate", "probe"]
"""Who the request was for: a client, the harness, or the gateway itself, which asks a new engine what it is."""


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request.

    Times are seconds since the epoch (UTC); durations are seconds; `cost` is a decimal in text, in `currency`, None
    when the model is unpriced or the engine reported no usage; token counts are None when the engine reported none.
    `decision` is JSON: what was decided of the request, and from what, so that it can be decided again; `UNDECIDED`
    where nothing was. It stands in a row's own JSON as it is: as text, it would be escaped and read back each time.

    `region` and `tags` (JSON of text to text, its names in order) say on whose behalf; None where nothing does.
    `dispatched_s` is when the replica was asked, in seconds from the start, None where none was, it would not compute
    anything, or its attempt is among the `tries`: those that failed beside, JSON, a list of [replica, from, until].
    `engine_queue_s` and `engine_prefill_s` are what the engine tells of its own time, where it does. `gpu_estimate` is
    what a budget in GPU money was charged, a decimal in text.
    `choices` is how many answers each prompt gets, None for one: an engine counts the prompt once for each.
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
    decision: msgspec.Raw = UNDECIDED
    region: str | None = None
    tags: str | None = None
    dispatched_s: float | None = None
    tries: str | None = None
    engine_queue_s: float | None = None
    engine_prefill_s: float | None = None
    reasoning_tokens: int | None = None
    gpu_estimate: str | None = None
    choices: int | None = None
