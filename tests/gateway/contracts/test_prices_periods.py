"""Prices with dates: every moment has one price, or the file is refused with the days that lack one."""

import itertools
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.contracts import prices
from gateway.contracts.errors import DocumentError, PriceMissing
from gateway.contracts.prices import UNPRICED, Period, PriceBook
from gateway.contracts.usage import Usage

MILLION = Usage(1_000_000, 0)
FIRST = date(2026, 1, 1)


def _at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def _period(amount: Any, since: str | None = None, until: str | None = None) -> dict[str, Any]:
    days = {name: value for name, value in (("from", since), ("until", until)) if value is not None}
    return {**days, "input": str(amount), "output": "0"}


def _book(*periods: Any, **models: Any) -> PriceBook:
    return PriceBook.model_validate({"version": "v1", "models": {"faq": list(periods), **models}})


def _refusal(*periods: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        _book(*periods)
    return str(caught.value)


def test_a_request_costs_what_counted_when_it_started() -> None:
    book = _book(_period(1, until="2026-07-01"), _period(2, "2026-07-01"))
    last, first = _at("2026-06-30T23:59:59.999999"), _at("2026-07-01")
    assert (book.cost("faq", MILLION, last), book.cost("faq", MILLION, first)) == (1, 2)
    assert (book.cost("faq", MILLION, 0.0), book.cost("faq", MILLION, _at("2998-01-01"))) == (1, 2)


def test_periods_count_in_the_order_of_their_days() -> None:
    later, earlier = _period(2, "2026-07-01"), _period(1, "2026-01-01", "2026-07-01")
    assert _book(later, earlier) == _book(earlier, later)
    assert _book(later, earlier).digest() == _book(earlier, later).digest()


@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=6), at=st.integers(0, 2400 * 86_400))
def test_every_moment_between_the_first_day_and_the_last_has_the_price_of_its_period(
    lengths: list[int], at: int
) -> None:
    starts = [FIRST + timedelta(days=sum(lengths[:n])) for n in range(len(lengths) + 1)]
    spans = list(itertools.pairwise(starts))
    book = _book(*[_period(n, str(since), str(until)) for n, (since, until) in enumerate(spans)])
    moment = _at(str(FIRST)) + at
    day = datetime.fromtimestamp(moment, UTC).date()
    expected = next((n for n, (since, until) in enumerate(spans) if since <= day < until), None)
    assert book.cost("faq", MILLION, moment) == expected
    assert (book.absent(moment) == []) == (expected is not None)


def test_a_gap_is_refused_with_the_days_that_lack_a_price() -> None:
    told = _refusal(_period(1, until="2026-07-01"), _period(2, "2026-08-01", "2026-09-01"), _period(3, "2026-09-02"))
    assert "no price on 2026-07-01 to 2026-07-31 (31 days)" in told
    assert "no price on 2026-09-01:" in told


@pytest.mark.parametrize(
    "periods",
    [
        [("2026-01-01", "2026-07-02"), ("2026-07-01", None)],
        [(None, None), ("2026-07-01", None)],
        [(None, "2026-07-01"), (None, "2026-08-01")],
        [("2026-01-01", None), ("2026-07-01", "2026-08-01")],
        [("2026-01-01", "2026-07-01"), ("2026-01-01", "2026-07-01")],
    ],
)
def test_days_with_two_prices_are_refused(periods: list[tuple[str | None, str | None]]) -> None:
    assert "overlap: every day has one price" in _refusal(*[_period(1, *days) for days in periods])


@pytest.mark.parametrize("until", ["2026-07-01", "2026-06-30"])
def test_a_period_ends_after_it_begins(until: str) -> None:
    assert "expected `until` after `from` (2026-07-01)" in _refusal(_period(1, "2026-07-01", until))


@pytest.mark.parametrize(
    "day",
    [
        "2026-13-01",
        "2026-02-30",
        "tomorrow",
        "",
        20260701,
        1.5,
        True,
        [],
        datetime(2026, 7, 1, tzinfo=UTC),
        "1999-12-31",
    ],
)
def test_what_is_no_day_is_refused(day: Any) -> None:
    with pytest.raises(ValidationError):
        Period.model_validate({"from": day, "input": "1", "output": "1"})


@pytest.mark.parametrize("amount", ["NaN", "-1", "Infinity", "1000001", 0.2])
def test_an_amount_of_a_period_is_an_amount(amount: Any) -> None:
    with pytest.raises(ValidationError):
        _book({"from": "2026-01-01", "input": amount, "output": "1"})


def test_no_period_at_all_is_no_price() -> None:
    assert "expected at least one period" in _refusal()


def test_mistakes_of_periods_have_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(
        'version: "1"\nmodels:\n  faq:\n    - {until: 2026-07-01, input: "1", output: "1"}\n'
        '    - {from: 2026-07-08, input: "1", output: "1"}\n  shop:\n'
        '    - {from: 2026-07-08T10:00:00Z, input: "1", output: "1"}\n'
    )
    with pytest.raises(DocumentError) as caught:
        prices.load(path)
    assert [(each.line, each.key.split(".")[1]) for each in caught.value.mistakes] == [(3, "faq"), (7, "shop")]
    assert "no price on 2026-07-01 to 2026-07-07 (7 days)" in str(caught.value)
    assert "expected a day such as 2026-12-01" in str(caught.value)


def test_law_5_prices_that_ended_or_have_not_begun_are_an_error() -> None:
    book = _book(_period(1, "2026-01-01", "2026-07-01"), free="unpriced", paid={"input": "1", "output": "1"})
    book.cover(_at("2026-03-01"))
    with pytest.raises(PriceMissing, match=r"'v1': the prices of 'faq' ended: there is none from 2026-07-01 on"):
        book.cover(_at("2026-07-01"))
    with pytest.raises(PriceMissing, match="the prices of 'faq' begin on 2026-01-01"):
        book.cover(_at("2025-12-31T23:59:59"))
    UNPRICED.cover(0.0)


def test_law_5_outside_of_every_period_a_cost_is_none_and_not_zero() -> None:
    book = _book(_period(1, "2026-01-01", "2026-07-01"))
    assert [book.cost("faq", MILLION, _at(day)) for day in ("2025-12-31", "2026-07-01")] == [None, None]
    assert book.cost("faq", MILLION, float("nan")) is None


def test_a_book_reads_back_what_it_wrote() -> None:
    book = _book(_period(1, until="2026-07-01"), _period("2.50", "2026-07-01"), free="unpriced")
    written = json.loads(book.model_dump_json(by_alias=True, exclude_defaults=True))
    assert PriceBook.model_validate(written) == book


def test_the_digest_is_of_what_it_says_and_not_of_how_it_is_written() -> None:
    one = _book(a={"input": "0.20", "output": 1}, faq={"input": 1, "output": 1})
    assert one.digest() == _book(faq={"input": "1.000", "output": "1"}, a={"output": "1.0", "input": "0.2"}).digest()
    for other in (
        _book(a={"input": "0.21", "output": 1}, faq={"input": 1, "output": 1}),
        _book(a={"input": "0.20", "output": 1, "cached_input": "0.20"}, faq={"input": 1, "output": 1}),
        _book(a={"input": "0.20", "output": 1}, faq="unpriced"),
        one.model_copy(update={"currency": "EUR"}),
    ):
        assert other.digest() != one.digest()


def test_none_is_no_version_for_prices() -> None:
    with pytest.raises(ValidationError, match="says that there are no prices"):
        PriceBook.model_validate({"version": "none", "models": {"faq": "unpriced"}})


def test_a_price_is_asked_for_before_a_request_has_cost_anything() -> None:
    book = _book(_period(1, until="2026-07-01"), _period(2, "2026-07-01"), free="unpriced")
    found = book.price("faq", _at("2026-07-01"))
    assert found is not None
    assert (found.input, book.price("free", 0.0), book.price("nobody", 0.0)) == (Decimal(2), None, None)
