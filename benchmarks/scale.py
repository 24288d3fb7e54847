"""What so many streams a second need, on paper: figures measured on one core, and arithmetic.

    python -m benchmarks.scale

Prints the tables of docs/scale.md. Measured figures come from benchmarks/README.md, but for those of Redis, which are
its own count of the time that each script takes (`INFO commandstats`, Redis 7.0, two counters of budgets for each
request, twenty keys on 4 to 256 gateways).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

RATES = (100, 1_000, 10_000)
"""Streams that begin each second."""

TOKENS, STREAM_S = 300, 10.0
"""Assumed of a stream: what it generates, one token a chunk, and how long that takes."""
BUSY = 0.6
"""How much of a core, or of Redis' one thread, is to be used at most."""
HOLDERS = 50
"""Assumed of a gateway: keys and teams of which a share changes in a second."""

CPU_S_PER_CHUNK = 0.0543 / 1000
CPU_S_PER_REQUEST = 103.3e-6
MB_IDLE, MB_PER_STREAM = 92.0, (117.0 - 92.0) / 1000
ROWS_S_SMALL, ROWS_S_LARGE = 500 / 0.02788, 500 / 0.14
"""PostgreSQL takes so many a second from one connection, with one and with ten million rows there."""
BYTES_PER_ROW = 9.20e9 / 10_000_000
SMALL = ", a million rows there"
RESERVE_S, SETTLE_S = 21.2e-6, 856.6e-6 / 64
"""Of Redis' thread, for one request."""
SHARE_S = 21e-6
"""Of Redis' thread, for the share of one key or team: the same with 4 gateways and with 256."""
RENEWALS = 10
"""Of the lease of one gateway, each second."""


class Need(NamedTuple):
    """What one rate needs."""

    rate: int
    open_streams: int
    cores: float
    gateways: int
    memory_gb: float
    budget_scripts: int
    unborrowed: int
    share_scripts: int
    redis_budgets: float
    redis_shares: float
    rows: int
    gb_day: float


@dataclass(frozen=True)
class Model:
    """`cores_each` cores for a gateway: its workers, each of which is a gateway to Redis."""

    tokens: int = TOKENS
    stream_s: float = STREAM_S

    def need(self, rate: int) -> Need:
        """Cores of gateways, of one each, and what they ask of Redis and PostgreSQL."""
        cores = rate * (CPU_S_PER_REQUEST + self.tokens * CPU_S_PER_CHUNK)
        gateways, streams = math.ceil(cores / BUSY), int(rate * self.stream_s)
        shares = gateways * (RENEWALS + HOLDERS)
        return Need(
            rate=rate,
            open_streams=streams,
            cores=cores,
            gateways=gateways,
            memory_gb=(gateways * MB_IDLE + streams * MB_PER_STREAM) / 1000,
            budget_scripts=2 * rate,
            unborrowed=4 * rate,
            share_scripts=shares,
            redis_budgets=rate * (RESERVE_S + SETTLE_S),
            redis_shares=shares * SHARE_S,
            rows=rate,
            gb_day=rate * 86_400 * BYTES_PER_ROW / 1e9,
        )


def rows(needs: list[Need]) -> list[tuple[str, list[str]]]:
    """The table: what, and its figure at each rate."""

    def each(form: str, *names: str) -> list[str]:
        return [form.format(*(getattr(need, name) for name in names)) for need in needs]

    return [
        ("streams open at once", each("{:,}", "open_streams")),
        ("cores of gateways, used", each("{:,.1f}", "cores")),
        (f"gateways of one core, {BUSY:.0%} used", each("{:,}", "gateways")),
        ("memory of gateways, GB", each("{:,.1f}", "memory_gb")),
        ("Redis: scripts of budgets a second", each("{:,}", "budget_scripts")),
        ("Redis: scripts of limits a second, if each request asked", each("{:,}", "unborrowed")),
        ("Redis: scripts of limits a second, by shares", each("{:,}", "share_scripts")),
        ("Redis: part of its thread for budgets", each("{:.1%}", "redis_budgets")),
        ("Redis: part of its thread for limits", each("{:.1%}", "redis_shares")),
        ("PostgreSQL: rows a second", each("{:,}", "rows")),
        (
            "PostgreSQL: of what one connection writes, a million rows there",
            [f"{n.rows / ROWS_S_SMALL:.0%}" for n in needs],
        ),
        ("PostgreSQL: the same, ten million rows there", [f"{n.rows / ROWS_S_LARGE:.0%}" for n in needs]),
        ("ledger, GB a day", each("{:,.1f}", "gb_day")),
    ]


def page() -> str:
    """The table as Markdown."""
    needs = [Model().need(rate) for rate in RATES]
    lines = ["| streams that begin in a second | " + " | ".join(f"{rate:,}" for rate in RATES) + " |"]
    lines.append("|---|" + "---:|" * len(RATES))
    lines += [f"| {what} | {' | '.join(figures)} |" for what, figures in rows(needs)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page())
