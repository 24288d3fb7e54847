"""Old rows go, and no total changes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings.gpu_price import GpuPrice
from gateway.stores import retention
from gateway.stores.cost_lines import STALE
from gateway.stores.database import COST_LINES, LEDGER, METADATA, REPLICA_HOURS, open_database
from gateway.stores.ledger import Ledger
from gateway.stores.rentals import Rentals
from gateway.stores.retention import fold, folded_until, foreseen, month_after, month_of, steps
from tests.drawing import often
from tests.gateway.builders import settled
from tests.gateway.stores.conftest import KINDS

KEYS = [column.name for column in COST_LINES.primary_key.columns if column.name not in ("grain", "start")]
SUMS = [column.name for column in COST_LINES.columns if not column.primary_key]


def _hour(year: int, month: int, day: int = 1, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) // 3600


def _line(start: int, grain: str = "hour", **changes: Any) -> dict[str, Any]:
    return {**dict.fromkeys(KEYS, "-"), **dict.fromkeys(SUMS, 1), "grain": grain, "start": start, **changes}


def _put(engine: sa.Engine, *lines: dict[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(COST_LINES), list(lines))


def _store(engine: sa.Engine, name: str, hour: float, duration_s: float = 1.0, *, allocated: bool = True) -> None:
    Ledger(engine).insert([settled(name, started_at=hour * 3600.0, duration_s=duration_s)])
    if allocated:
        with engine.begin() as connection:
            connection.execute(sa.update(LEDGER).where(LEDGER.c.request_id == name).values(allocated_at=1.0))


def _lines(engine: sa.Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [
            dict(each) for each in connection.execute(sa.select(COST_LINES).order_by(COST_LINES.c.start)).mappings()
        ]


def _left(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(sa.select(LEDGER.c.request_id)).scalars())


def _totals(engine: sa.Engine) -> dict[tuple[Any, ...], int]:
    """Every sum by every dimension that a fold keeps: all but days and hours."""
    found = Counter[tuple[Any, ...]]()
    for line in _lines(engine):
        for name in SUMS:
            found[(month_of(line["start"]), *(line[key] for key in KEYS), name)] += line[name]
    return dict(found)


@pytest.fixture(scope="module", params=KINDS)
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('retention') / 't.db'}")
    else:
        engine = open_database(request.getfixturevalue("postgres").url())
    yield engine
    engine.dispose()


FIRST = _hour(2025, 11)
LINES = st.lists(
    st.tuples(
        st.integers(FIRST, FIRST + 120 * 24),
        st.sampled_from(["a", "b", "__idle__"]),
        st.sampled_from(["r1", "r2"]),
        st.integers(0, 10**12),
        st.sampled_from(["hour", "month"]),
    ),
    max_size=12,
    unique_by=lambda each: each[:3],
)
"""Sums of hours, and of months, of four months and a little more."""


@settings(max_examples=often(15, thorough=300))
@given(lines=LINES, before=st.integers(FIRST - 800, FIRST + 200 * 24), again=st.integers(0, 2000))
def test_law_a_fold_changes_no_total(
    shared: sa.Engine, lines: list[tuple[int, str, str, int, str]], before: int, again: int
) -> None:
    with shared.begin() as connection:
        for table in METADATA.sorted_tables:
            connection.execute(sa.delete(table))
    made = {}
    for hour, team, replica, amount, grain in lines:
        start = month_of(hour) if grain == "month" else hour
        amounts = {name: amount + at for at, name in enumerate(SUMS)}
        made[grain, start, team, replica] = _line(start, grain, team=team, replica=replica, **amounts)
    if made:
        _put(shared, *made.values())
    totals = _totals(shared)
    wanted = foreseen(shared, before)
    assert fold(shared, before) == wanted
    assert _totals(shared) == totals
    kept = [line for line in _lines(shared) if line["grain"] == "hour"]
    assert all(line["start"] >= month_of(before) for line in kept)
    assert {line["start"] for line in kept} == {s for g, s, *_ in made if g == "hour" and s >= month_of(before)}
    after = _lines(shared)
    done = fold(shared, before)
    assert (done.hours, done.months, done.rows) == (0, 0, 0)
    assert _lines(shared) == after
    fold(shared, before + again)
    assert _totals(shared) == totals


@pytest.mark.parametrize(
    ("hour", "first", "following"),
    [
        (_hour(2026, 1), _hour(2026, 1), _hour(2026, 2)),
        (_hour(2026, 2, 28, 23), _hour(2026, 2), _hour(2026, 3)),
        (_hour(2024, 2, 29, 23), _hour(2024, 2), _hour(2024, 3)),
        (_hour(2026, 12, 31, 23), _hour(2026, 12), _hour(2027, 1)),
        (0, 0, 31 * 24),
    ],
)
def test_months_are_utc(hour: int, first: int, following: int) -> None:
    assert (month_of(hour), month_after(hour)) == (first, following)


def test_the_sums_of_a_month_are_one_line_for_all_that_is_told_apart(engine: sa.Engine) -> None:
    _put(engine, *(_line(_hour(2026, 8, day), team=team, gpu_nano=day) for day in (1, 31) for team in "ab"))
    _put(engine, _line(_hour(2026, 9), gpu_nano=7))
    done = fold(engine, _hour(2026, 9, 30))
    assert (done.until, done.held_by, done.hours, done.months) == (_hour(2026, 9), None, 4, 2)
    assert [(line["grain"], line["start"], line["team"], line["gpu_nano"]) for line in _lines(engine)] == [
        ("month", _hour(2026, 8), "a", 32),
        ("month", _hour(2026, 8), "b", 32),
        ("hour", _hour(2026, 9), "-", 7),
    ]
    with engine.connect() as connection:
        assert folded_until(connection) == _hour(2026, 9)


def test_nothing_is_folded_at_first(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert folded_until(connection) == 0
    assert fold(engine, 0) == fold(engine, 0)


def test_rows_go_in_batches_and_newer_ones_stay(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for at in range(5):
        _store(engine, f"old-{at}", _hour(2026, 8, 3) + at)
    _store(engine, "new", _hour(2026, 9))
    told = [each.rows for each in steps(engine, _hour(2026, 9))]
    assert told == [0, 2, 4, 5]
    assert _left(engine) == {"new"}


def test_a_row_that_is_not_allocated_stays_and_holds_back_what_came_after_it(engine: sa.Engine) -> None:
    for month in (7, 8, 9):
        _store(engine, f"row-{month}", _hour(2026, month, 15))
        _put(engine, _line(_hour(2026, month, 15)))
    _store(engine, "waits", _hour(2026, 8, 20), allocated=False)
    done = fold(engine, _hour(2026, 10))
    assert (done.until, done.held_by) == (_hour(2026, 8), _hour(2026, 8, 20) * 3600.0)
    assert _left(engine) == {"row-8", "row-9", "waits"}
    assert [line["grain"] for line in _lines(engine)] == ["month", "hour", "hour"]


def _close(engine: sa.Engine, replica: str, hours: Iterable[int], closed_at: float = 1.0) -> None:
    zeros = ("paid_us", "busy_us", "cost_nano", "allocated_nano", "overhead_nano", "idle_nano", "requests")
    book = {**dict.fromkeys(zeros, 0), "replica": replica, "pool": "p", "step_model": "x", "revision": 1}
    with engine.begin() as connection:
        connection.execute(sa.insert(REPLICA_HOURS), [{**book, "hour": each, "closed_at": closed_at} for each in hours])


def test_an_hour_that_was_paid_for_and_has_no_books_holds_back_its_month_and_what_came_after_it(
    engine: sa.Engine,
) -> None:
    """What nobody used has no row that would hold it back, and a folded month is never worked out again."""
    july, august, october = _hour(2026, 7), _hour(2026, 8), _hour(2026, 10)
    rentals, price = Rentals(engine), GpuPrice(usd_per_gpu_hour=Decimal(2))
    rentals.declare("g", july * 3600.0 + 1800, {"a": ("p", price)})
    rentals.declare("g", _hour(2026, 9, 5) * 3600.0 + 1, {})
    _close(engine, "a", range(july, _hour(2026, 8, 7)))
    _put(engine, _line(july + 5), _line(august + 5))
    for work in (foreseen, fold):
        done = work(engine, october)
        assert (done.until, done.held_by, done.unbooked) == (august, _hour(2026, 8, 7) * 3600.0, True)
    assert [line["grain"] for line in _lines(engine)] == ["month", "hour"]
    _close(engine, "a", range(_hour(2026, 8, 7), _hour(2026, 9, 5)))
    _close(engine, "a", [_hour(2026, 9, 5)], closed_at=STALE)
    assert fold(engine, october).held_by == _hour(2026, 9, 5) * 3600.0
    with engine.begin() as connection:
        connection.execute(sa.update(REPLICA_HOURS).values(closed_at=1.0))
    done = fold(engine, october)
    assert (done.until, done.held_by, done.unbooked) == (october, None, False)


def test_a_row_that_reaches_into_an_open_hour_stays(engine: sa.Engine) -> None:
    """Should that hour be worked out again, the row takes part in it."""
    _store(engine, "over", _hour(2026, 9) - 0.5, duration_s=3600.0)
    _store(engine, "within", _hour(2026, 9) - 3.5, duration_s=3600.0)
    fold(engine, _hour(2026, 9))
    assert _left(engine) == {"over"}
    fold(engine, _hour(2026, 10))
    assert _left(engine) == set()


def test_a_fold_that_is_cut_short_is_taken_up(engine: sa.Engine) -> None:
    for month in (6, 7, 8):
        _put(engine, *(_line(_hour(2026, month, day)) for day in (1, 2)))
        _store(engine, f"row-{month}", _hour(2026, month))
    totals = _totals(engine)
    for cut in range(5):
        walk = steps(engine, _hour(2026, 9))
        for _ in range(cut % 3 + 1):
            next(walk)
        walk.close()
        assert _totals(engine) == totals
    fold(engine, _hour(2026, 9))
    assert _totals(engine) == totals
    assert {line["grain"] for line in _lines(engine)} == {"month"}
    assert _left(engine) == set()


def test_two_that_fold_at_once_do_not_add_twice(url: str) -> None:
    engines = [open_database(url) for _ in range(2)]
    _put(engines[0], *(_line(_hour(2026, month, 2)) for month in (6, 7, 8)))
    totals = _totals(engines[0])
    walks = [steps(engine, _hour(2026, 9)) for engine in engines]
    for _ in zip_longest(*walks):
        assert _totals(engines[0]) == totals
    assert [line["grain"] for line in _lines(engines[0])] == ["month"] * 3
    for engine in engines:
        engine.dispose()
