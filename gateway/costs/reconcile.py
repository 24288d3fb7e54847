"""Does it add up: the ledger's tokens against the engines' own counters, and what was booked against an invoice.

Tokens. Between two snapshots of one engine process its counters grew by what it worked on. The ledger has the requests
that went through the gateway. A request that reaches over a snapshot was counted on either side of it, nobody knows in
which part: its tokens are the room that the ledger's sum has, from `least` to `most`. So long periods tell more than
short ones, and only what lies outside of that room is a difference. A piece of time across a restart has no
difference of counters: it is left out, and said.

A request stands in the ledger once it has ended. The last snapshot that counts is one before which every request has
ended: it is older than the longest request, or the next one found the same counters, so nothing was in flight.

Money. What was booked for a period's replica-hours, against what somebody invoices for it. The residual is a line of
its own with its sign, and is spread over nobody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Literal

from gateway.stores.counters import Snapshot, Sums

UNRECONCILED = "__unreconciled__"
"""The line of what an invoice says and nobody booked, or the other way round."""
TOKENS_TOLERANCE = Decimal("0.005")
MONEY_TOLERANCE = Decimal("0.001")
QUIET_S = 10.0
"""An engine that has counted nothing for so long has nothing in flight."""
SLACK_S = 1.0
"""How exactly it is known which requests a snapshot has seen: the page takes its way, and clocks differ."""
PLACES = Decimal("0.0001")

Kind = Literal["prompt", "output"]
Verdict = Literal["agrees", "around", "twice", "unknown"]
"""`around`: the engine counted tokens that went around the gateway. `twice`: the ledger has more than the engine."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Two snapshots of one process, between which its counters can be told apart."""

    first: Snapshot
    last: Snapshot

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.last.at - self.first.at


@dataclass(frozen=True, slots=True)
class Pieces:
    """What of a replica's time can be compared, and what was left out of it, in words."""

    found: list[Piece]
    left_out: list[str]


@dataclass(frozen=True, slots=True)
class TokenFinding:
    """One kind of tokens of one replica. `least` and `most` are the ledger's; `gap` is how far the engine is beyond.

    `gap` is above zero where the engine counted more; `share` is the part of the engine's count that it is, None where
    that is zero. `reason` says what it means.
    """

    replica: str
    kind: Kind
    verdict: Verdict
    reason: str
    engine: int = 0
    least: int = 0
    most: int = 0
    gap: int = 0
    share: Decimal | None = None
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MoneyFinding:
    """What was booked, by pool, against an invoice. `residual` = invoice - booked, `share` its part of the invoice."""

    pools: dict[str, Decimal]
    invoice: Decimal
    booked: Decimal
    residual: Decimal
    share: Decimal | None
    within: bool


def pieces(snapshots: Sequence[Snapshot], settled_by: float) -> Pieces:
    """The pieces of one replica's snapshots, which are in the order of time.

    Requests that ended before `settled_by` (seconds since the epoch) are in the ledger.
    """
    found, left_out, run = list[Piece](), list[str](), list[Snapshot]()
    for snapshot in snapshots:
        if snapshot.prompt_tokens is None or snapshot.generation_tokens is None:
            continue
        if run and not _continues(run[-1], snapshot):
            left_out.append(f"{snapshot.at - run[-1].at:.0f} s around a restart of the engine")
            found += _piece(run, settled_by)
            run = []
        run.append(snapshot)
    ended = _piece(run, settled_by)
    if run and (tail := run[-1].at - (ended[0].last.at if ended else run[0].at)):
        left_out.append(f"the last {tail:.0f} s, of which requests may still be in flight")
    return Pieces(found + ended, left_out)


def _continues(before: Snapshot, after: Snapshot) -> bool:
    """Whether both are of one process: the same start, and no counter fell."""
    if before.started_at is not None and after.started_at is not None and before.started_at != after.started_at:
        return False
    return (after.prompt_tokens or 0) >= (before.prompt_tokens or 0) and (after.generation_tokens or 0) >= (
        before.generation_tokens or 0
    )


def _piece(run: Sequence[Snapshot], settled_by: float) -> list[Piece]:
    """The longest piece of a run that ends where every request has; none where there is none."""
    for at in range(len(run) - 1, 0, -1):
        if run[at].at <= settled_by or (at + 1 < len(run) and _quiet(run[at], run[at + 1])):
            return [Piece(run[0], run[at])]
    return []


def _quiet(one: Snapshot, next_one: Snapshot) -> bool:
    same = (one.prompt_tokens, one.generation_tokens) == (next_one.prompt_tokens, next_one.generation_tokens)
    return same and next_one.at - one.at >= QUIET_S


def compare(
    replica: str,
    found: Pieces,
    sums: Sequence[Sums],
    tolerance: Decimal = TOKENS_TOLERANCE,
    least: int = 0,
) -> list[TokenFinding]:
    """Both kinds of tokens of a replica: its pieces, and the ledger's sums of each.

    A gap counts from `least` tokens and from the `tolerance` (a part of the engine's count) on.
    """
    if not found.found:
        reason = "no two snapshots of its counters between which all requests have ended"
        kinds: tuple[Kind, ...] = ("prompt", "output")
        return [TokenFinding(replica, kind, "unknown", reason, left_out=tuple(found.left_out)) for kind in kinds]
    ends = [(piece.first, piece.last) for piece in found.found]
    prompt = sum((last.prompt_tokens or 0) - (first.prompt_tokens or 0) for first, last in ends)
    output = sum((last.generation_tokens or 0) - (first.generation_tokens or 0) for first, last in ends)
    inner = {"prompt": sum(each.prompt for each in sums), "output": sum(each.output for each in sums)}
    edge = {"prompt": sum(each.prompt_edge for each in sums), "output": sum(each.output_edge for each in sums)}
    unmetered = sum(each.unmetered for each in sums)
    seconds = sum(piece.seconds for piece in found.found)
    made = []
    counted: tuple[tuple[Kind, int], ...] = (("prompt", prompt), ("output", output))
    for kind, engine in counted:
        low, high = inner[kind], inner[kind] + edge[kind]
        gap = engine - high if engine > high else min(0, engine - low)
        over = abs(gap) > tolerance * engine and abs(gap) >= least
        verdict, reason = _judged(gap, over, (high - low) > tolerance * engine, unmetered)
        share = (Decimal(gap) / engine).quantize(PLACES) if engine else None
        made.append(
            TokenFinding(replica, kind, verdict, reason, engine, low, high, gap, share, seconds, tuple(found.left_out))
        )
    return made


def _judged(gap: int, over: bool, wide: bool, unmetered: int) -> tuple[Verdict, str]:
    if over and gap < 0:
        return "twice", f"{-gap} tokens were counted that the engine did not work on: rows are double, or another's"
    if over and unmetered:
        return "unknown", f"{gap} tokens more than the ledger has, and {unmetered} requests of which nobody told any"
    if over:
        return "around", f"{gap} tokens went around the gateway"
    if wide and not gap:
        return "unknown", "too much was in flight at the snapshots for so short a time: compare a longer period"
    return "agrees", ""


def by_replica(snapshots: Iterable[Snapshot]) -> dict[str, list[Snapshot]]:
    """The snapshots of each replica, which come in the order of replica and time."""
    return {name: list(group) for name, group in groupby(snapshots, key=lambda each: each.replica)}


def against_invoice(
    booked: Iterable[tuple[str, Decimal]], invoice: Decimal, tolerance: Decimal = MONEY_TOLERANCE
) -> MoneyFinding:
    """What was booked, as (pool, amount) of each replica-hour, against an invoice of the same currency and period."""
    pools: dict[str, Decimal] = {}
    for pool, amount in booked:
        pools[pool] = pools.get(pool, Decimal(0)) + amount
    total = sum(pools.values(), Decimal(0))
    residual = invoice - total
    share = None if not invoice else (residual / invoice).quantize(PLACES)
    within = abs(residual) <= tolerance * abs(invoice)
    return MoneyFinding(dict(sorted(pools.items())), invoice, total, residual, share, within)
