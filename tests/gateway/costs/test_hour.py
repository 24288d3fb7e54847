"""The books of an hour, by hand: what is counted, what is not, and what is refused."""

from decimal import Decimal
from typing import Any

import pytest

from gateway.costs.hour import HOUR_US, NANO, Part, Split, Work, split_hour
from gateway.settings.profile import H100X2, StepTime

HOUR = 495_000 * HOUR_US
STEP = StepTime(base_s=0.01, prefill_token_s=0.0001, sequence_s=0.001, context_token_s=0.000001)
PRICE = Decimal("3.60")
"""A tenth of a cent each second."""
PAID = [(HOUR, HOUR + HOUR_US, PRICE)]
SECOND = 10**6
CENT_TENTH = NANO // 1000


def work(name: str, begun: float, ended: float, **changes: Any) -> Work:
    """A request from and until seconds of the hour, of 100 tokens in and 50 out, streamed at once."""
    begun_us, ended_us = HOUR + round(begun * SECOND), HOUR + round(ended * SECOND)
    fields = {"first_us": begun_us, "uncached": 100, "cached": 0, "output": 50, "method": "streamed"}
    return Work(**{"request_id": name, "begun_us": begun_us, "ended_us": ended_us, **fields, **changes})


def books(*works: Work, paid: Any = PAID) -> Split:
    return split_hour(works, paid, STEP, 8192)


def test_an_hour_that_nobody_used_is_idle() -> None:
    assert books() == Split(3600 * CENT_TENTH, HOUR_US, 0, 0, 0, 3600 * CENT_TENTH, {})


def test_a_request_alone_pays_its_time_and_the_rest_is_idle() -> None:
    found = books(work("a", 10, 40))
    assert (found.allocated, found.idle, found.busy_us) == (30 * CENT_TENTH, 3570 * CENT_TENTH, 30 * SECOND)
    assert found.parts == {"a": Part(*[30 * CENT_TENTH] * 4, found.cost)}


def test_two_alike_halve_the_time_that_they_share() -> None:
    found = books(work("a", 0, 20), work("b", 10, 30))
    assert found.parts["a"].shared == found.parts["b"].shared == 15 * CENT_TENTH


def test_x_is_the_prompt_before_the_first_token_and_the_context_after_it() -> None:
    """x of the prompt is 0.1, x of decoding 0.001 + 0.000001 · 1,025; the other is unknown and has half of 0.01."""
    other = work("b", 0, 20, uncached=None, cached=None, output=None, method="present")
    found = books(work("a", 0, 20, uncached=1000, first_us=HOUR + 5 * SECOND), other)
    x = 0.001 + 0.000001 * 1025
    seconds = 5 * (0.1 + 0.005) / 0.11 + 15 * (x + 0.005) / (x + 0.01)
    assert found.parts["a"].shared == pytest.approx(seconds * CENT_TENTH, abs=1)


def test_without_a_first_token_x_is_the_mean_over_all_steps() -> None:
    other = work("b", 0, 20, uncached=None, cached=None, output=None, method="present")
    found = books(work("a", 0, 20, uncached=1000, first_us=None, method="averaged"), other)
    x = (0.1 + 50 * (0.001 + 0.000001 * 1025)) / 51
    assert found.parts["a"].shared == pytest.approx(20 * (x + 0.005) / (x + 0.01) * CENT_TENTH, abs=1)


def test_a_first_token_outside_of_the_request_is_its_begin_or_its_end() -> None:
    other = work("b", 0, 20)
    for told, meant in ((-5, 0), (99, 20)):
        one = books(work("a", 0, 20, first_us=HOUR + told * SECOND), other)
        assert one == books(work("a", 0, 20, first_us=HOUR + meant * SECOND), other)


def test_unknown_usage_pays_its_part_of_the_fixed_time_alone() -> None:
    unknown = work("a", 0, 10, uncached=None, cached=None, output=None, first_us=None, method="present")
    found = books(unknown, work("b", 0, 10, first_us=HOUR + 10 * SECOND))
    assert found.parts["a"].shared == pytest.approx(10 * 0.005 / 0.02 * CENT_TENTH, abs=1)
    assert found.parts["a"].by_tokens == 0
    assert found.parts["a"].by_requests == found.allocated // 2


def test_a_count_below_0_is_unknown_usage() -> None:
    other = work("b", 0, 10)
    unknown = books(work("a", 0, 10, uncached=None, cached=None, output=None), other)
    assert books(work("a", 0, 10, output=-3), other) == unknown


def test_a_prompt_that_a_cache_gave_whole_pays_for_being_there() -> None:
    found = books(work("a", 0, 10, uncached=0, cached=100, output=0, first_us=None))
    assert found.allocated == 10 * CENT_TENTH


@pytest.mark.parametrize(
    "nothing",
    [
        work("z", 0, 10, uncached=0, cached=0, output=0),
        work("z", 0, 10, uncached=0, cached=None, output=0),
        work("z", 5, 5),
        work("z", 9, 5),
        work("z", -20, 0),
        work("z", 3600, 3700),
    ],
    ids=["no tokens", "no tokens, cached unknown", "no time", "a clock set back", "the hour before", "the hour after"],
)
def test_a_request_that_did_nothing_pays_nothing_and_nobody_notices_it(nothing: Work) -> None:
    others = [work("a", 0, 20), work("b", 10, 30)]
    found, without = books(*others, nothing), books(*others)
    assert found.parts.pop("z") == Part(0, 0, 0, 0, 0)
    assert found == without


def test_a_failed_attempt_takes_part_and_is_overhead() -> None:
    found = books(work("a", 0, 20), work("a", 0, 20, overhead=True))
    assert (found.overhead, found.allocated) == (10 * CENT_TENTH, 10 * CENT_TENTH)
    assert found.parts["a"].shared == found.parts["a"].by_tokens == 10 * CENT_TENTH
    assert found.parts["a"].loaded == found.cost


def test_an_hour_of_overhead_alone_is_loaded_on_nobody() -> None:
    found = books(work("a", 0, 20, overhead=True))
    assert (found.overhead, found.allocated, found.parts) == (20 * CENT_TENTH, 0, {})
    assert found.idle == found.cost - found.overhead


def test_who_came_twice_has_the_sum() -> None:
    found = books(work("a", 0, 10), work("a", 10, 20))
    assert found.parts == {"a": Part(*[20 * CENT_TENTH] * 4, found.cost)}


def test_what_reaches_over_the_hour_is_cut_and_its_tokens_with_it() -> None:
    found = books(work("a", -30, 10), work("b", 20, 30))
    assert found.parts["a"].shared == found.parts["b"].shared == 10 * CENT_TENTH
    assert found.parts["a"].by_requests == pytest.approx(20 * CENT_TENTH * 0.25 / 1.25, abs=1)


def test_pieces_have_their_own_price_and_time_between_them_costs_nothing() -> None:
    paid = [(HOUR, HOUR + 100 * SECOND, PRICE), (HOUR + 200 * SECOND, HOUR + 300 * SECOND, 2 * PRICE)]
    found = books(work("a", 50, 250), work("b", 120, 180), paid=paid)
    assert (found.cost, found.paid_us, found.busy_us) == (300 * CENT_TENTH, 200 * SECOND, 100 * SECOND)
    assert found.parts["a"].shared == (50 + 2 * 50) * CENT_TENTH
    assert found.idle == (50 + 2 * 50) * CENT_TENTH
    assert found.parts["b"] == Part(0, 0, 0, 0, 0)


def test_a_price_change_in_a_request_is_no_seam() -> None:
    paid = [(HOUR, HOUR + 15 * SECOND, PRICE), (HOUR + 15 * SECOND, HOUR + 3600 * SECOND, PRICE)]
    assert books(work("a", 0, 20), work("b", 10, 30), paid=paid) == books(work("a", 0, 20), work("b", 10, 30))


def test_a_replica_that_nobody_pays_for_costs_nothing() -> None:
    found = books(work("a", 0, 10), paid=[])
    assert found == Split(0, 0, 0, 0, 0, 0, {"a": Part(0, 0, 0, 0, 0)})
    assert books(work("a", 0, 10), paid=[(HOUR, HOUR + HOUR_US, Decimal(0))]).busy_us == 10 * SECOND


def test_the_cost_is_rounded_once() -> None:
    """A third of an hour at 1.00 and a third at 2.00 of nano's thirds: 1.000000000 exactly."""
    third = HOUR_US // 3
    paid = [(HOUR, HOUR + third, Decimal(1)), (HOUR + third, HOUR + 2 * third, Decimal(2))]
    assert books(paid=paid).cost == NANO
    assert books(paid=[(HOUR, HOUR + 1, Decimal("0.0018"))]).cost == 0
    assert books(paid=[(HOUR, HOUR + 3, Decimal("3.6"))]).cost == 3


def test_an_embedding_without_an_answer_is_all_prompt() -> None:
    found = split_hour([work("a", 0, 1, output=0, first_us=None)], PAID, H100X2.step, 8192)
    assert found.allocated == CENT_TENTH


@pytest.mark.parametrize(
    ("paid", "message"),
    [
        ([(HOUR, HOUR, PRICE)], "pieces one after the other"),
        ([(HOUR, HOUR + 10, PRICE), (HOUR + 9, HOUR + 20, PRICE)], "pieces one after the other"),
        ([(HOUR, HOUR + 10, Decimal(-1))], "a price of 0 or more, found -1"),
        ([(HOUR, HOUR + 10, Decimal("NaN"))], "a price of 0 or more, found NaN"),
        ([(HOUR, HOUR + 10, Decimal("Infinity"))], "a price of 0 or more, found Infinity"),
    ],
)
def test_what_is_no_piece_of_time_or_no_price_is_refused(paid: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        books(paid=paid)


def test_a_chunk_has_a_token() -> None:
    with pytest.raises(ValueError, match="a chunk of 1 token or more, found 0"):
        split_hour([], PAID, STEP, 0)
