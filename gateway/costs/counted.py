"""Holds the engines' counters of a period against the ledger of the same stores: see `reconcile`."""

from collections.abc import Sequence
from decimal import Decimal

from gateway.costs.reconcile import SLACK_S, TOKENS_TOLERANCE, TokenFinding, by_replica, compare, pieces
from gateway.costs.rows import TOOK_PART
from gateway.stores.counters import Counters


def reconcile_tokens(
    counters: Counters,
    since: float | None,
    until: float | None,
    *,
    settled_by: float,
    longest_s: float,
    tolerance: Decimal = TOKENS_TOLERANCE,
    least: int = 0,
    replica: str | None = None,
) -> list[TokenFinding]:
    """Both kinds of tokens of each replica that has snapshots in a period, or of one of them.

    Times in seconds since the epoch. What ended before `settled_by` is in the ledger, and no request lasts over
    `longest_s`.
    """
    made: list[TokenFinding] = []
    for name, snapshots in by_replica(counters.snapshots(since, until, replica)).items():
        found = pieces(snapshots, settled_by)
        sums = [
            counters.sums(name, each.first.at, each.last.at, slack_s=SLACK_S, longest_s=longest_s, worked=TOOK_PART)
            for each in found.found
        ]
        made += compare(name, found, sums, tolerance, least)
    return made


def told(findings: Sequence[TokenFinding]) -> list[str]:
    """One line for each finding that is an alarm."""
    return [
        f"replica {each.replica!r}: {each.kind} tokens: the engine counted {each.engine}, the ledger has "
        f"{each.least if each.gap < 0 else each.most}: {each.reason}"
        for each in findings
        if each.verdict in ("around", "twice")
    ]
