"""One hour's books from its rows: what each line has, and what is left for nobody."""

from decimal import Decimal
from typing import Any

import msgspec

from gateway.costs.books import Hour, book, late, lines_of, shares, split, tally
from gateway.costs.fleet import Engine
from gateway.costs.hour import Work
from gateway.stores.cost_lines import COLUMNS, HOUR_S
from gateway.stores.costs import Facts, ReplicaHour
from gateway.stores.rentals import Rental
from tests.gateway.builders import settled

FIRST = 490_000
T = float(FIRST * HOUR_S)
END_US = (FIRST + 1) * HOUR_S * 10**6
ENGINE = Engine("main")
RENTAL = Rental("r", T, None, "main", 2, Decimal(2), "g")


def facts(request_id: str = "tg", allocated_at: float | None = None, **changes: Any) -> Facts:
    row = msgspec.structs.asdict(settled(request_id, **{"started_at": T, "replica": "r", "cost": "0.5", **changes}))
    cost, last = row.pop("cost"), int((row["started_at"] + row["duration_s"]) // HOUR_S)
    row |= {"cost_nano": None if cost is None else int(Decimal(cost).scaleb(9)), "allocated_at": allocated_at}
    row |= {"last_hour": last if last > FIRST else None, "gpu_nano": None, "gpu_method": None}
    return Facts(**{name: row[name] for name in Facts._fields})


def hour(*rows: Facts, carried: tuple[Facts, ...] = (), failed: tuple[Work, ...] = (), **changes: Any) -> Hour:
    made = Hour("r", FIRST, rows, carried, failed, [RENTAL], END_US)
    return made._replace(**changes)


def lines(made: Hour) -> dict[str, dict[str, Any]]:
    found = tally(made, "main")
    rows = lines_of(made, "main", found, split(made, found.works, ENGINE))
    return {line[COLUMNS.index("team")]: dict(zip(COLUMNS, line, strict=True)) for line in rows}


def test_an_hour_is_paid_for_as_far_as_its_rentals_reach() -> None:
    begin, half = FIRST * HOUR_S * 10**6, 1800 * 10**6
    assert hour().paid == [(begin, END_US, Decimal(4))]
    pieces = [RENTAL._replace(since=T - 9, until=T + 600), RENTAL._replace(since=T + 1800, gpus=4)]
    found = hour(rentals=pieces).paid
    assert found == [(begin, begin + 600 * 10**6, Decimal(4)), (begin + half, END_US, Decimal(8))]
    assert hour(now_us=begin + half).paid == [(begin, begin + half, Decimal(4))]
    assert hour(rentals=[RENTAL._replace(since=T + HOUR_S)]).paid == []
    assert hour(rentals=[RENTAL._replace(until=T)]).paid == []


def test_an_hour_that_nobody_used_is_idle_to_the_last_nano() -> None:
    line = lines(hour())["__idle__"]
    assert {line[name] for name in COLUMNS if name.endswith("_nano") and name != "list_nano"} == {4 * 10**9}
    assert (line["requests"], line["list_nano"], line["replica"], line["pool"]) == (0, 0, "r", "main")


def test_half_an_hour_of_work_is_half_of_the_money() -> None:
    found = lines(hour(facts(duration_s=1800.0)))
    assert (found["search"]["gpu_nano"], found["__idle__"]["gpu_nano"]) == (2 * 10**9, 2 * 10**9)
    assert (found["search"]["loaded_nano"], found["__idle__"]["loaded_nano"]) == (4 * 10**9, 0)
    assert (found["search"]["requests"], found["search"]["list_nano"]) == (1, 5 * 10**8)


def test_a_failed_attempt_is_overhead() -> None:
    failed = Work("tg", FIRST * HOUR_S * 10**6, None, END_US, None, None, None, "present", overhead=True)
    found = lines(hour(failed=(failed,)))
    assert set(found) == {"__overhead__"}
    assert found["__overhead__"]["gpu_nano"] == found["__overhead__"]["loaded_nano"] == 4 * 10**9


def test_what_is_carried_over_has_its_money_here_and_its_counts_there() -> None:
    before = facts(started_at=T - 1800, duration_s=3600.0)
    line = lines(hour(carried=(before,)))["search"]
    assert (line["requests"], line["input_tokens"], line["list_nano"], line["gpu_nano"]) == (0, 0, 0, 2 * 10**9)


def test_unknown_amounts_and_tokens_are_counted() -> None:
    line = lines(hour(facts(cost=None, input_tokens=None, output_tokens=None, dispatched_s=0.0)))["search"]
    assert (line["unpriced"], line["unmetered"], line["cached_unknown"]) == (1, 1, 1)
    assert (line["gpu_method"], line["list_nano"]) == ("present", 0)


def test_a_request_outside_of_every_rental_has_no_method_and_no_money() -> None:
    rental = RENTAL._replace(since=T + 1000)
    line = lines(hour(facts(duration_s=10.0), rentals=[rental]))["search"]
    assert (line["gpu_method"], line["gpu_nano"]) == ("none", 0)
    assert tally(hour(facts(duration_s=10.0), rentals=[rental]), "").entries[0].method == "none"


def test_a_refusal_cost_nothing_and_that_is_known() -> None:
    refused = facts(outcome="invalid_request", input_tokens=None, output_tokens=None)
    assert [each.method for each in tally(hour(refused), "").entries] == ["absent"]


def test_shares_are_those_of_requests_that_reach_out_of_the_hour() -> None:
    made = hour(facts("in", duration_s=60.0), facts("out", started_at=T + 1800, duration_s=3600.0))
    assert shares(made, ENGINE) == {"out": 2 * 10**9}


def test_books_say_by_which_step_model() -> None:
    made = hour(facts(duration_s=1800.0))
    found = tally(made, "main")
    written = book(made, "main", ENGINE, found.began, split(made, found.works, ENGINE), 3)
    assert (written.cost_nano, written.allocated_nano, written.idle_nano) == (4 * 10**9, 2 * 10**9, 2 * 10**9)
    assert (written.requests, written.revision, written.step_model) == (1, 3, ENGINE.profile.name)
    assert (written.paid_us, written.busy_us) == (3600 * 10**6, 1800 * 10**6)


def test_rows_that_come_when_the_others_are_gone_are_added_and_move_no_money() -> None:
    made = hour(facts(duration_s=1800.0))
    found = tally(made, "main")
    money = split(made, found.works, ENGINE)
    before = book(made, "main", ENGINE, 1, money, 1)
    stored = lines_of(made, "main", found, money)
    closed = late(("r", FIRST), [facts("new")], stored, before, 5.0)
    assert (closed.book.requests, closed.book.revision, closed.book.cost_nano) == (2, 2, before.cost_nano)
    at = {name: place for place, name in enumerate(COLUMNS)}
    assert sum(line[at["requests"]] for line in closed.lines) == 2
    assert sum(line[at["gpu_nano"]] for line in closed.lines) == before.cost_nano
    assert closed.rows == [(None, "none", 5.0, "new")]
    assert closed.seen == {("r", FIRST): 1}
    lost = late(("r", FIRST), [facts("new")], stored, None, 5.0)
    assert (lost.replaced.hour, lost.replaced.lines) == (FIRST, lost.lines)
    assert isinstance(lost.book, ReplicaHour)
