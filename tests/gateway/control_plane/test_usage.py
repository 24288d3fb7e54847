"""A key's own usage: what may be asked, and what is answered."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidRequest
from gateway.control_plane.usage import BY, MOST_DAYS, MOST_LINES, Wanted, answer, wanted
from gateway.stores.cost_lines import CostLine
from tests.gateway.builders import NOW

HOUR = 3600.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def line(**changes: Any) -> CostLine:
    counts = ("requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    lacking = ("unpriced", "unmetered", "cached_unknown", "unallocated")
    money = ("allocated", "loaded", "by_requests", "by_tokens", "by_weight")
    zeros = {**dict.fromkeys((*counts, *lacking), 0), **dict.fromkeys(money, Decimal(0))}
    return CostLine(**{**zeros, "group": {}, "list_cost": None, "currency": None, **changes})


def test_without_parameters_it_is_this_month_so_far() -> None:
    assert wanted([], NOW + 1.0) == Wanted(at("2026-11-01"), NOW + HOUR, ("day", "model"))


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2026-11-01", "2026-12-01", ("2026-11-01", "2026-12-01")),
        ("2026-11-01T10:30:00Z", "2026-11-01T11:00:01Z", ("2026-11-01T10:00", "2026-11-01T12:00")),
        ("2026-11-01T10:00:00-03:00", "2026-11-02", ("2026-11-01T13:00", "2026-11-02")),
        ("2026-11-01T10:00:00 03:00", "2026-11-02", ("2026-11-01T07:00", "2026-11-02")),
    ],
    ids=str,
)
def test_both_ends_are_made_wider_to_whole_hours(since: str, until: str, expected: tuple[str, str]) -> None:
    found = wanted([("since", since), ("until", until), ("by", "")], NOW)
    assert found == Wanted(at(expected[0]), at(expected[1]), ())


@pytest.mark.parametrize(
    "wrong",
    [
        "", "yesterday", "2026-13-01", "2026-02-30", "2026-11-01T10:00:00", "1795348800", "20261101", "2026-W45-1",
        "0001-01-01", "9999-12-31T23:59:59-12:00", "2026-11-01\x00", "٢٠٢٦-١١-٠١",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["since", "until"])
def test_what_is_no_moment_is_refused_by_name(name: str, wrong: str) -> None:
    with pytest.raises(InvalidRequest, match=name) as caught:
        wanted([(name, wrong)], NOW)
    assert caught.value.param == name


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ([("key", "other")], "key"),
        ([("team", "x")], "team"),
        ([("by", "model"), ("by", "day")], "by"),
        ([("by", "key")], "by"),
        ([("by", "team")], "by"),
        ([("by", "replica")], "by"),
        ([("by", "model,")], "by"),
        ([("by", "tag:")], "by"),
        ([("by", 'tag:a"b')], "by"),
        ([("since", "2026-11-02"), ("until", "2026-11-02")], "since"),
        ([("since", "2026-11-02"), ("until", "2026-11-01")], "since"),
        ([("since", "2025-01-01"), ("until", "2026-11-01")], "since"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(asked: Sequence[tuple[str, str]], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        wanted(asked, NOW)
    assert caught.value.param == param


@given(st.lists(st.sampled_from([*BY, "tag:project"]), min_size=1))
def test_each_name_counts_once(names: list[str]) -> None:
    assert wanted([("by", ",".join(names))], NOW).by == tuple(dict.fromkeys(names))


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_whatever_is_sent_is_read_or_refused(since: str, until: str, by: str) -> None:
    try:
        found = wanted([("since", since), ("until", until), ("by", by)], NOW)
    except InvalidRequest:
        return
    assert found.since < found.until <= found.since + MOST_DAYS * 86_400


def test_amounts_are_text_and_what_is_unknown_is_null() -> None:
    asked = Wanted(at("2026-11-01"), at("2026-11-02"), ("model",))
    known = line(
        group={"model": "faq"}, requests=3, list_cost=Decimal("0.000000001"), currency="EUR", allocated=Decimal("1.5"),
        unallocated=1,
    )  # fmt: skip
    unknown = line(group={"model": "new"}, requests=2, unallocated=2, unpriced=2)
    page = answer("k1", asked, [known, unknown], line())
    assert (page["object"], page["key"], page["by"]) == ("usage", "k1", ["model"])
    assert (page["since"], page["until"]) == ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
    first, second = page["data"]
    assert (first["group"], first["list_cost"], first["currency"]) == ({"model": "faq"}, "0.000000001", "EUR")
    assert (first["gpu_cost"], first["gpu_currency"]) == ("1.5", "USD")
    assert (second["list_cost"], second["gpu_cost"], second["unallocated"]) == (None, None, 2)
    assert (page["total"]["requests"], page["total"]["list_cost"], page["total"]["gpu_cost"]) == (0, "0", "0")


def test_a_page_has_a_largest_size() -> None:
    with pytest.raises(InvalidRequest, match="ask for less"):
        answer("k1", Wanted(0.0, HOUR, ("hour",)), [line()] * (MOST_LINES + 1), line())
