"""The engines' counters against the ledger, and what was booked against an invoice."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.costs.reconcile import Piece, Pieces, against_invoice, by_replica, compare, pieces
from gateway.stores.counters import Snapshot, Sums

NEVER, EVER = float("-inf"), float("inf")


def snap(at: float, prompt: int | None = 0, output: int | None = 0, started: float | None = 1.0) -> Snapshot:
    return Snapshot("r1", at, started, prompt, None, output)


def between(prompt: int, output: int) -> Pieces:
    return Pieces([Piece(snap(0.0, 5, 7), snap(3600.0, 5 + prompt, 7 + output))], [])


def spans(found: Pieces) -> list[tuple[float, float]]:
    return [(piece.first.at, piece.last.at) for piece in found.found]


def test_snapshots_of_one_process_are_one_piece() -> None:
    found = pieces([snap(0.0), snap(60.0, 5, 1), snap(120.0, 5, 2)], EVER)
    assert (spans(found), found.left_out) == ([(0.0, 120.0)], [])
    assert found.found[0].seconds == 120.0


@pytest.mark.parametrize(
    "after", [snap(180.0, 9, 9, 2.0), snap(180.0, 0, 9), snap(180.0, 9, 0), snap(180.0, 0, 0, None)]
)
def test_the_piece_across_a_restart_is_left_out_and_said(after: Snapshot) -> None:
    found = pieces([snap(0.0), snap(60.0, 5, 5), after, replace(after, at=240.0)], EVER)
    assert spans(found) == [(0.0, 60.0), (180.0, 240.0)]
    assert found.left_out == ["120 s around a restart of the engine"]


def test_a_piece_ends_where_every_request_has() -> None:
    some = [snap(0.0), snap(60.0, 5, 5), snap(120.0, 9, 9), snap(180.0, 20, 20)]
    found = pieces(some, 60.0)
    assert (spans(found), found.left_out) == (
        [(0.0, 60.0)], ["the last 120 s, of which requests may still be in flight"],
    )  # fmt: skip
    assert spans(pieces(some, NEVER)) == []
    quiet = [*some, snap(240.0, 20, 20), snap(300.0, 21, 21)]
    assert spans(pieces(quiet, NEVER)) == [(0.0, 180.0)], "nothing was counted after it, so nothing was in flight"
    assert spans(pieces([*some, snap(181.0, 20, 20)], NEVER)) == [], "a second without a token says nothing"


def test_a_page_that_does_not_count_is_no_snapshot() -> None:
    assert spans(pieces([snap(0.0), snap(60.0, None), snap(120.0, 3, None), snap(180.0, 3, 3)], EVER)) == [(0.0, 180.0)]


def test_where_nothing_can_be_compared_that_is_said_and_is_not_agreement() -> None:
    found = compare("r1", pieces([snap(0.0)], EVER), [])
    assert [(each.kind, each.verdict) for each in found] == [("prompt", "unknown"), ("output", "unknown")]
    assert all("no two snapshots" in each.reason for each in found)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_what_the_ledger_has_to_the_token_agrees(prompt: int, output: int) -> None:
    found = compare("r1", between(prompt, output), [Sums(prompt, output)])
    assert [(each.verdict, each.gap, each.engine) for each in found] == [("agrees", 0, prompt), ("agrees", 0, output)]


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**6))
def test_only_what_is_outside_of_the_ledgers_room_is_a_gap(engine: int, inner: int, edge: int, extra: int) -> None:
    found = compare("r1", between(engine, 0), [Sums(inner, 0, edge, 0)])[0]
    assert (found.least, found.most) == (inner, inner + edge)
    assert (found.gap == 0) == (inner <= engine <= inner + edge)
    assert found.gap == max(0, engine - inner - edge) + min(0, engine - inner)
    wider = compare("r1", between(engine, 0), [Sums(inner, 0, edge + extra, 0)])[0]
    assert abs(wider.gap) <= abs(found.gap), "more room is never a larger gap"


@given(st.integers(1, 10**9), st.integers(0, 2 * 10**9))
def test_beyond_the_tolerance_is_an_alarm_that_names_its_tokens(engine: int, ledger: int) -> None:
    found = compare("r1", between(engine, 0), [Sums(ledger, 0)])[0]
    gap = engine - ledger
    if abs(gap) * 200 <= engine:
        assert found.verdict == "agrees"
    else:
        assert found.verdict == ("around" if gap > 0 else "twice")
        assert str(abs(gap)) in found.reason


def test_what_nobody_told_may_be_the_gap() -> None:
    found = compare("r1", between(1000, 1000), [Sums(900, 1100, unmetered=3)])
    assert [each.verdict for each in found] == ["unknown", "twice"]
    assert "3 requests" in found[0].reason


def test_a_period_too_short_for_what_was_in_flight_tells_nothing() -> None:
    found = compare("r1", between(1000, 1000), [Sums(500, 999, 500, 1)])
    assert [each.verdict for each in found] == ["unknown", "agrees"]
    assert "longer period" in found[0].reason


def test_a_small_gap_is_no_alarm_where_a_least_is_named() -> None:
    assert compare("r1", between(100, 0), [Sums(50, 0)], least=51)[0].verdict == "agrees"
    assert compare("r1", between(100, 0), [Sums(50, 0)], least=50)[0].verdict == "around"


def test_an_engine_that_counted_nothing_has_no_share() -> None:
    found = compare("r1", between(0, 0), [Sums(5, 0)])[0]
    assert (found.verdict, found.gap, found.share) == ("twice", -5, None)


def test_pieces_add_up() -> None:
    two = Pieces([*between(100, 10).found, *between(50, 5).found], ["x"])
    found = compare("r1", two, [Sums(100, 10), Sums(50, 5)])
    assert [(each.engine, each.least, each.seconds, each.left_out) for each in found] == [
        (150, 150, 7200.0, ("x",)), (15, 15, 7200.0, ("x",)),
    ]  # fmt: skip


def test_snapshots_by_replica() -> None:
    one, two = snap(0.0), replace(snap(5.0), replica="r2")
    assert by_replica([one, two]) == {"r1": [one], "r2": [two]}


AMOUNTS = st.decimals(0, 10**9, places=9)


@given(st.lists(st.tuples(st.sampled_from("abc"), AMOUNTS)), AMOUNTS)
def test_pools_and_residual_are_the_invoice_exactly(booked: list[tuple[str, Decimal]], invoice: Decimal) -> None:
    found = against_invoice(booked, invoice)
    assert sum(found.pools.values(), Decimal(0)) + found.residual == invoice
    assert found.within == (abs(found.residual) * 1000 <= invoice)


@pytest.mark.parametrize(
    ("invoice", "residual", "share", "within"),
    [
        ("100.1", "0.1", "0.0010", True),
        ("100.2", "0.2", "0.0020", False),
        ("99.9", "-0.1", "-0.0010", False),
        ("99.91", "-0.09", "-0.0009", True),
        ("0", "-100", None, False),
    ],
)
def test_the_residual_keeps_its_sign(invoice: str, residual: str, share: str | None, within: bool) -> None:
    found = against_invoice([("a", Decimal(60)), ("b", Decimal(40))], Decimal(invoice))
    assert (found.residual, found.within) == (Decimal(residual), within)
    assert found.share == (None if share is None else Decimal(share))
