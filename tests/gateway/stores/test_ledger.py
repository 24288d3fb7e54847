"""Rows are stored once, and come back as they were."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from gateway.contracts.ledger import LedgerRow
from gateway.stores.database import LEDGER
from gateway.stores.ledger import BATCH, Ledger
from gateway.stores.spool import decode
from tests.gateway.builders import NOW, settled


@pytest.fixture
def ledger(engine: sa.Engine) -> Ledger:
    return Ledger(engine)


def test_an_empty_ledger_has_no_rows(ledger: Ledger) -> None:
    ledger.insert([])
    assert ledger.recent(5) == []


def test_a_row_comes_back_as_it_was(ledger: Ledger) -> None:
    told = {"cost": "0.000000001", "cached_tokens": 1, "replica": "r", "first_byte_s": 0.1, "stream": True}
    row = settled(**told, decision=msgspec.Raw(b'{"config":"\xc3\xa9"}'))
    ledger.insert([row])
    expected = {name: getattr(row, name) for name in row.__struct_fields__} | {"cost": Decimal("0.000000001")}
    expected["decision"] = '{"config":"é"}'
    expected |= dict.fromkeys(("gpu_cost", "gpu_method", "allocated_at"))
    assert ledger.find(row.request_id) == expected
    (found,) = ledger.recent(1)
    assert found == {name: value for name, value in expected.items() if name != "decision"}
    assert ledger.find("tg-none") is None


@pytest.mark.parametrize("line", [b'{"config":"a \\"b\\""}', b'"{\\"config\\":\\"a \\\\\\"b\\\\\\"\\"}"', b""])
def test_the_spool_of_an_older_gateway_has_decisions_as_text(ledger: Ledger, line: bytes) -> None:
    made = msgspec.json.encode(settled())
    row = decode(made[:-1] + b',"decision":%b}' % line if line else made)
    ledger.insert([row])
    found = ledger.find(row.request_id)
    assert found is not None
    assert found["decision"] == (r'{"config":"a \"b\""}' if line else None)


def test_rows_that_lack_different_values_are_stored_together(ledger: Ledger) -> None:
    optional: list[dict[str, Any]] = [
        {}, {"cost": "1"}, {"tags": "{}"}, {"tags": "{}", "cost": "2"}, {"replica": "r", "tries": "[]"},
        {"cost": "3", "region": "BR-SP", "choices": 3, "reasoning_tokens": 0, "stream": True},
    ]  # fmt: skip
    rows = [settled(f"tg-{at}", **fields) for at, fields in enumerate(optional * 3)]
    ledger.insert(rows)
    for row in rows:
        found = ledger.find(row.request_id)
        assert found is not None
        expected = {name: getattr(row, name) for name in row.__struct_fields__} | {"decision": None}
        assert {name: found[name] for name in expected} == expected | {"cost": found["cost"]}
        assert found["cost"] == (None if row.cost is None else Decimal(row.cost))
        assert found["stream"] is row.stream


def test_where_a_row_reaches_into_another_hour_is_kept_with_it(ledger: Ledger) -> None:
    hour = 3600.0 * (NOW // 3600)
    spans = {"within": (hour, 3599.0), "over": (hour + 3599, 2.0), "long": (hour + 10, 7200.0)}
    ledger.insert([settled(name, started_at=at, duration_s=took) for name, (at, took) in spans.items()])
    with ledger._engine.connect() as connection:
        found = dict(connection.execute(sa.select(LEDGER.c.request_id, LEDGER.c.last_hour)).all())
    first = int(hour // 3600)
    assert found == {"within": None, "over": first + 1, "long": first + 2}


def test_a_row_is_stored_once_and_never_changed(ledger: Ledger) -> None:
    ledger.insert([settled(cost="1"), settled("tg-2", cost="1")])
    ledger.insert([settled(cost="5", team="other"), settled("tg-3", cost="1"), settled("tg-3", cost="7")])
    assert [row["cost"] for row in ledger.recent(9)] == [1, 1, 1]
    assert {row["team"] for row in ledger.recent(9)} == {"search"}


def test_the_newest_row_is_the_first(ledger: Ledger) -> None:
    ledger.insert([settled(f"tg-{at}", started_at=NOW + at) for at in (2, 0, 1)])
    assert [row["request_id"] for row in ledger.recent(2)] == ["tg-2", "tg-1"]


def test_traffic_is_read_in_order_as_it_is_iterated_over(ledger: Ledger) -> None:
    ledger.insert([settled(f"tg-{at:04d}", started_at=NOW + at) for at in range(1200)])
    ledger.insert([settled("probe", started_at=NOW, purpose="probe"), settled("other", started_at=NOW, model="other")])
    read = ledger.traffic(NOW + 1, NOW + 1190, "faq")
    assert next(read)["started_at"] == NOW + 1
    assert [row["started_at"] for row in read] == [NOW + at for at in range(2, 1190)]


def test_rows_are_read_as_they_are_stored_and_all_of_them_or_none(ledger: Ledger) -> None:
    read, ahead = 0, list[int]()

    def rows(count: int) -> Iterator[LedgerRow]:
        nonlocal read
        for read in range(1, count + 1):
            yield settled(f"tg-{count}-{read}")
        raise OSError("the rest cannot be read")

    def stores(*_: object) -> None:
        ahead.append(read)

    sa.event.listen(ledger._engine, "before_cursor_execute", stores)
    with pytest.raises(OSError, match="the rest"):
        ledger.insert(rows(2 * BATCH + 1))
    assert ahead == [BATCH, 2 * BATCH]
    assert ledger.recent(9) == []
