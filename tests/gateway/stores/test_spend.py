"""What the ledger says is spent: rows and lines of closed hours together, nothing missing and nothing double."""

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.policy.budgets import Counter, window
from gateway.settings.budgets import Money, Per
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.database import COST_LINES, LEDGER
from tests.drawing import often
from tests.gateway import builders

HOUR = 3600
START = int(datetime.fromisoformat("2026-11-20T00:00+00:00").timestamp())


def counter(since: float = 0.0, until: float = math.inf, money: Money = "list", **of: Any) -> Counter:
    return Counter("c", "budget", 10**9, money, since, until, True, **of)


def stores(folder: Path) -> Stores:
    return open_stores(f"sqlite:///{folder / 'tollgate.db'}")


def engine_of(opened: Stores) -> sa.Engine:
    return opened.spend._engine


def write(opened: Stores, number: int, started: float, nano: int, **changes: Any) -> None:
    """A row that cost so much."""
    cost = f"{nano / 1e9:.9f}"
    opened.ledger.insert([builders.settled(f"tg-{number}", started_at=started, cost=cost, **changes)])


def close(opened: Stores, *, before: float, at: float = 1.0, gpu: int = 0) -> None:
    """Close the hours that end before a moment, as closing does: each row in the line of the hour of its start."""
    with engine_of(opened).begin() as connection:
        rows = connection.execute(
            sa.select(LEDGER).where(LEDGER.c.allocated_at.is_(None), LEDGER.c.started_at < before // HOUR * HOUR)
        ).mappings()
        sums: dict[tuple[Any, ...], tuple[int, int]] = {}
        for row in list(rows):
            names = ("team", "key_id", "model", "purpose", "currency")
            line = (int(row["started_at"] // HOUR), *(row[name] for name in names))
            listed, rented = sums.get(line, (0, 0))
            sums[line] = (listed + (row["cost_nano"] or 0), rented + gpu)
            connection.execute(
                sa.update(LEDGER).where(LEDGER.c.request_id == row["request_id"]).values(allocated_at=at, gpu_nano=gpu)
            )
        for (hour, team, key, model, purpose, currency), (listed, rented) in sums.items():
            connection.execute(
                sa.insert(COST_LINES).values(_line(hour, team, key, model, purpose, currency, listed, rented))
            )


def _line(
    hour: int, team: str, key: str, model: str, purpose: str, currency: str, listed: int, rented: int
) -> dict[str, Any]:
    texts = {column.name: "" for column in COST_LINES.c if isinstance(column.type, sa.Text)}
    numbers = {column.name: 0 for column in COST_LINES.c if isinstance(column.type, sa.BigInteger)}
    return {
        **texts, **numbers, "grain": "hour", "start": hour, "team": team, "key_id": key, "model": model,
        "purpose": purpose, "currency": currency, "list_nano": listed, "gpu_nano": rented,
    }  # fmt: skip


def test_only_what_matches_counts(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    write(opened, 1, START, 1)
    write(opened, 2, START, 10, team="ads", key_id="l")
    write(opened, 3, START, 100, model="code")
    write(opened, 4, START, 1000, currency="EUR")
    write(opened, 5, START, 10_000, purpose="probe", team="tollgate", key_id="-")
    write(opened, 6, START + 86_400, 100_000)
    opened.ledger.insert([builders.settled("tg-7", started_at=START, cost=None)])
    for moment in (0, START + HOUR):
        close(opened, before=moment)
        spent = opened.spend.spent
        assert spent(counter(), "USD") == 100_111
        assert spent(counter(until=START + 10), "USD") == 111, "of an hour that is cut in two"
        assert spent(counter(until=START + 86_400), "USD") == 111
        assert spent(counter(START, START + 86_400, team="search"), "USD") == 101
        assert spent(counter(START, START + 86_400, team="search", model="faq"), "USD") == 1
        assert spent(counter(START, START + 86_400, key="l"), "USD") == 10
        assert spent(counter(), "EUR") == 1000
        assert opened.spend.subjects(counter(until=START + 86_400), "team", "USD") == {"search": 101, "ads": 10}
        assert opened.spend.subjects(counter(until=START + 86_400), "key", "USD") == {"k": 101, "l": 10}


MOMENTS = st.lists(st.integers(0, 3 * 24 * HOUR), min_size=1, max_size=12)


@settings(
    max_examples=often(15, thorough=300), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    MOMENTS,
    st.integers(0, 3 * 24 * HOUR),
    st.sampled_from(["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York"]),
)
def test_law_2_closing_hours_changes_no_sum(
    tmp_path_factory: pytest.TempPathFactory, moments: list[int], closed: int, zone: str
) -> None:
    opened = stores(tmp_path_factory.mktemp("ledger"))
    for number, moment in enumerate(moments):
        write(opened, number, START + moment, 10**number)
    periods: list[Per] = ["day", "week", "month", "total"]
    counters = [counter(*window(per, zone, START + moment)) for per in periods for moment in moments]
    sums = [
        sum(10**number for number, moment in enumerate(moments) if each.since <= START + moment < each.until)
        for each in counters
    ]
    assert [opened.spend.spent(each, "USD") for each in counters] == sums
    close(opened, before=START + closed)
    assert [opened.spend.spent(each, "USD") for each in counters] == sums
    engine_of(opened).dispose()


def test_months_that_were_rolled_up_and_whose_rows_are_gone_stay_in_a_total(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    write(opened, 1, START, 7)
    close(opened, before=START + HOUR)
    with engine_of(opened).begin() as connection:
        connection.execute(sa.update(COST_LINES).values(grain="month", start=START // HOUR - 19 * 24))
        connection.execute(sa.delete(LEDGER))
    assert opened.spend.spent(counter(), "USD") == 7


def test_gpu_money_is_what_was_charged_until_its_hour_is_closed(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    gpu = counter(START, START + 86_400, "gpu")
    write(opened, 1, START + 10, 5, gpu_estimate="0.000000040")
    write(opened, 2, START + HOUR + 10, 5, gpu_estimate="0.000000050")
    write(opened, 3, START + HOUR + 20, 5)
    assert opened.spend.spent(gpu, "USD") == 90
    assert opened.spend.corrected(gpu, 0.0) == 0
    close(opened, before=START + HOUR, at=100.0, gpu=33)
    assert opened.spend.spent(gpu, "USD") == 33 + 50
    assert opened.spend.corrected(gpu, 99.0) == 33 - 40
    assert opened.spend.corrected(gpu, 100.0) == 0, "known when the counter was loaded"
    close(opened, before=START + 2 * HOUR, at=200.0, gpu=60)
    assert opened.spend.spent(gpu, "USD") == 33 + 60 + 60
    assert opened.spend.corrected(gpu, 99.0) == 33 - 40 + 60 - 50 + 60


def test_what_nobody_asked_for_is_in_no_budget(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    with engine_of(opened).begin() as connection:
        for team in ("__idle__", "__overhead__", "search"):
            connection.execute(
                sa.insert(COST_LINES).values(_line(START // HOUR, team, "", "faq", "serve", "USD", 0, 9))
            )
    assert opened.spend.spent(counter(money="gpu", model="faq"), "USD") == 9
