"""How long the ledger's queries take at 10 thousand, a million and ten million rows, on SQLite and on PostgreSQL.

    python benchmarks/ledger.py --rows 10000 1000000 10000000 --folder /var/tmp

Rows are spread over a month of 31 days: 20 teams with 5 keys each, 8 replicas, 2 models, and what was decided of each
request beside it. All but the last two hours are closed, with their sums in `cost_lines`. Each query is run five times,
or for ten seconds, after one that is not counted; told is the best, since other work disturbs and never helps. Both
databases are as the gateway opens them, and PostgreSQL has 1 GB of shared buffers. Ten million rows take 10 GB of disk
for each kind of database, one after the other.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.contracts.ledger import LedgerRow
from gateway.stores.costs import Costs
from gateway.stores.database import COST_LINES, LEDGER, open_database
from gateway.stores.dialects import size
from gateway.stores.ledger import Ledger
from tests.gateway import postgres

HERE = Path(__file__).parent
HOURS = 31 * 24
END = 1_793_491_200.0
"""2026-11-01 00:00 UTC: the month is October."""
START = END - HOURS * 3600.0
DECISION = json.dumps({"policy": "score", "candidates": [[n, 1000 + n, 0.25, 17] for n in range(8)], "of": "x" * 180})
RUNS, ENOUGH_S = 5, 10.0
CHUNK = 500_000
SETTINGS = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "1GB", "autovacuum": "on",
    "max_wal_size": "4GB", "work_mem": "64MB", "max_parallel_workers_per_gather": "2",
}  # fmt: skip

_SERIES = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {last}) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series({first}::bigint, {last}::bigint - 1)) ",
}
_ID = {
    "sqlite": "printf('tg-%012x%016x', i, i)",
    "postgresql": "'tg-' || lpad(to_hex(i), 12, '0') || lpad(to_hex(i), 16, '0')",
}
_BOOL = {"sqlite": "i % 2", "postgresql": "i % 2 = 0"}


def _fill(engine: Engine, rows: int) -> None:
    """The ledger's rows, made by the database itself."""
    kind = engine.dialect.name
    at = f"{START} + i * {HOURS * 3600.0 / rows!r}"
    values = {
        "request_id": _ID[kind], "started_at": at, "key_id": "'key-' || (i % 100)", "team": "'team-' || (i % 20)",
        "purpose": "'serve'", "model": "'model-' || (i % 2)", "release": "'model-' || (i % 2) || '@1'",
        "release_digest": "'sha256:" + "a" * 64 + "'", "endpoint": "'/v1/chat/completions'", "stream": _BOOL[kind],
        "outcome": "CASE WHEN i % 97 = 0 THEN 'client_closed' ELSE 'completed' END", "status": "200",
        "replica": "'h100-' || ((i / 7) % 8)", "attempts": "1", "input_tokens": "200 + i % 1800",
        "cached_tokens": "i % 200", "output_tokens": "20 + i % 480", "cost_nano": "100000 + i % 900000",
        "currency": "'USD'", "price_version": "'2026-10'", "first_byte_s": "0.25", "duration_s": "2.5",
        "decision": f"'{DECISION}'", "tags": """'{"cost_centre":"' || (i % 20) || '"}'""", "dispatched_s": "0.001",
        "gpu_nano": f"CASE WHEN {at} < {END - 7200} THEN 300000 + i % 500000 END",
        "gpu_method": f"CASE WHEN {at} < {END - 7200} THEN 'streamed' END",
        "allocated_at": f"CASE WHEN {at} < {END - 7200} THEN {at} + 7200 END",
    }  # fmt: skip
    for first in range(0, rows, CHUNK):
        series = _SERIES[kind].format(first=first, last=min(rows, first + CHUNK))
        text = f"INSERT INTO ledger ({', '.join(values)}) {series} SELECT {', '.join(values.values())} FROM n"
        with engine.begin() as connection:
            connection.exec_driver_sql(text.replace("%", "%%") if kind == "postgresql" else text)


def _close(engine: Engine) -> None:
    """The sums of closed hours."""
    hour = (
        "CAST(started_at AS BIGINT) / 3600" if engine.dialect.name == "sqlite" else "floor(started_at / 3600)::bigint"
    )
    group = (
        f"'hour', {hour}, replica, 'h100', key_id, team, model, release, purpose, outcome, '', tags, currency, "
        "gpu_method"
    )
    sums = ("count(*), sum(input_tokens), sum(cached_tokens), sum(output_tokens), 0, 0, 0, 0, sum(cost_nano), "
            "sum(gpu_nano), sum(gpu_nano), sum(gpu_nano), sum(gpu_nano), sum(gpu_nano)")  # fmt: skip
    columns = ", ".join(column.name for column in COST_LINES.columns)
    for day in range(31):
        since = START + day * 86400.0
        with engine.begin() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO cost_lines ({columns}) SELECT {group}, {sums} FROM ledger WHERE allocated_at IS NOT NULL "
                f"AND started_at >= {since} AND started_at < {since + 86400.0} GROUP BY {hour}, replica, key_id, team, "
                "model, release, purpose, outcome, tags, currency, gpu_method"
            )
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")


def _lines(engine: Engine, since: float, until: float, team: str | None = None) -> Callable[[], Any]:
    columns = COST_LINES.c
    names = ("requests", "input_tokens", "output_tokens", "list_nano", "gpu_nano", "loaded_nano")
    query = (
        sa.select(columns.team, *(sa.func.sum(columns[name]) for name in names))
        .where(columns.grain == "hour", columns.start >= int(since // 3600), columns.start < int(until // 3600))
        .group_by(columns.team)
    )
    return _read(engine, query if team is None else query.where(columns.team == team))


def _read(engine: Engine, query: sa.Select[Any]) -> Callable[[], Any]:
    def run() -> object:
        with engine.connect() as connection:
            return connection.execute(query).all()

    return run


def _spent(engine: Engine, since: float) -> Callable[[], Any]:
    """What budgets ask at a start: what one team's rows since then come to."""
    columns = LEDGER.c
    query = sa.select(sa.func.sum(columns.cost_nano), sa.func.sum(columns.gpu_estimate_nano)).where(
        columns.started_at >= since, columns.team == "team-7"
    )
    return _read(engine, query)


def _drain(ledger: Ledger) -> Callable[[], Any]:
    numbers = iter(range(10_000_000))

    def run() -> None:
        batch = []
        for _ in range(500):
            number = next(numbers)
            batch.append(
                LedgerRow(
                    request_id=f"tg-{int(END) * 1000:012x}{number:016x}", started_at=END, key_id="key-1", team="team-1",
                    purpose="serve", model="model-1", release="model-1@1", release_digest="sha256:" + "a" * 64,
                    endpoint="/v1/chat/completions", stream=True, outcome="completed", status=200, replica="h100-1",
                    input_tokens=500, cached_tokens=100, output_tokens=200, cost="0.000123456", price_version="2026-10",
                    first_byte_s=0.2, duration_s=2.5, decision=msgspec.Raw(DECISION.encode()), dispatched_s=0.001,
                )
            )  # fmt: skip
        ledger.insert(batch)

    return run


def questions(engine: Engine, rows: int) -> dict[str, Callable[[], Any]]:
    """What is timed, by what it is called in the table."""
    ledger, costs, columns = Ledger(engine), Costs(engine), LEDGER.c
    middle = rows // 2
    unallocated = sa.select(columns.request_id, columns.started_at, columns.replica, columns.duration_s)
    day = END - 86400.0
    return {
        "the 20 latest rows": lambda: ledger.recent(20),
        "one row by its id": lambda: ledger.find(f"tg-{middle:012x}{middle:016x}"),
        "rows of one replica and hour": _read(
            engine,
            unallocated.where(columns.started_at >= day, columns.started_at < day + 3600, columns.replica == "h100-3"),
        ),
        "rows not allocated yet (2 hours)": _read(engine, unallocated.where(columns.allocated_at.is_(None))),
        "what one team spent today, from rows": _spent(engine, day),
        "what one team spent this month, from rows": _spent(engine, START),
        "what one team spent this month, from lines": _lines(engine, START, END, "team-7"),
        "costs by team of a day": lambda: costs.lines(("team",), day, END),
        "sums by team of a day, from lines": _lines(engine, day, END),
        "costs by team of a month": lambda: costs.lines(("team",), START, END),
        "sums by team of a month, from lines": _lines(engine, START, END),
        "500 rows of a drain": _drain(ledger),
    }


def measure(engine: Engine, rows: int) -> dict[str, float]:
    """Seconds of each question, and what building took."""
    begun = time.perf_counter()
    _fill(engine, rows)
    filled = time.perf_counter()
    _close(engine)
    found = {"filling": filled - begun, "closing": time.perf_counter() - filled}
    for name, ask in questions(engine, rows).items():
        ask()
        took: list[float] = []
        while not took or (len(took) < RUNS and sum(took) < ENOUGH_S):
            begun = time.perf_counter()
            ask()
            took.append(time.perf_counter() - begun)
        found[name] = min(took)
    with engine.connect() as connection:
        found["lines"] = connection.execute(sa.select(sa.func.count()).select_from(COST_LINES)).scalar() or 0
        found["bytes"] = size(connection)
    return found


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Engine]:
    """A new database of a kind, which goes away."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="tollgate-ledger-") as inside:
        if kind == "sqlite":
            engine = open_database(f"sqlite:///{inside}/t.db")
            yield engine
            engine.dispose()
            return
        with postgres.running(SETTINGS, folder) as server:
            engine = open_database(server.url())
            with engine.connect() as connection:
                connection.exec_driver_sql(f"ALTER DATABASE {engine.url.database} SET statement_timeout = 0")
            yield engine
            engine.dispose()


def _told(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown: a line for each question, a column for each kind and size."""
    results = sorted(results, key=lambda each: (each["kind"] != "sqlite", each["rows"]))
    cases = [(each["kind"], each["rows"]) for each in results]
    names = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    heads = [f"{names[kind]} {rows:,}" for kind, rows in cases]
    lines = ["| | " + " | ".join(heads) + " |", "|---" + "|---:" * len(heads) + "|"]
    for name in results[0]["found"]:
        values = [each["found"][name] for each in results]
        if name == "bytes":
            cells = [f"{value / 1e9:.2f} GB" for value in values]
        elif name == "lines":
            cells = [f"{int(value):,}" for value in values]
        else:
            cells = [_told(value) for value in values]
        label = {"bytes": "size of the database", "lines": "sums of hours (`cost_lines`)", "filling": "rows written in "
                 "bulk, all", "closing": "sums of all hours"}.get(name, name)  # fmt: skip
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write what was found as lines of JSON and as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where databases are made")
    parser.add_argument("--out", type=Path, default=HERE / "ledger.jsonl", help="gets a line for each case")
    given = parser.parse_args()
    for kind in given.kinds:
        for rows in given.rows:
            with opened(kind, given.folder) as engine:
                result = {"kind": kind, "rows": rows, "found": measure(engine, rows)}
            result |= {"python": platform.python_version(), "sqlalchemy": sa.__version__}
            with given.out.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)
    results = [json.loads(line) for line in given.out.read_text().splitlines()]
    print(table(results))


if __name__ == "__main__":
    main()
