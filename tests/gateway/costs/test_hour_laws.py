"""The laws of the books of an hour, on made-up hours."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.costs.hour import HOUR_US, NANO, Part, Split, Work, money, split_hour
from gateway.costs.shares import Terms, steps
from gateway.settings.profile import StepTime

LENGTH = 60_000_000
"""Of the window: a minute in microseconds, of which works are drawn in tenths of seconds."""
STEP = StepTime(base_s=0.01, prefill_token_s=0.00002, sequence_s=0.0001, context_token_s=0.0000001)
TERMS = Terms(*(Fraction(str(each)) for each in (0.01, 0.00002, 0.0001, 0.0000001)))
CHUNK = 2048
MOMENT = st.integers(-100, 700).map(lambda tenths: tenths * 100_000)
COUNT = st.one_of(st.none(), st.integers(0, 9000))
PRICE = st.decimals(0, 100, places=4)


@st.composite
def work(draw: st.DrawFn, number: int) -> Work:
    begun, ended = sorted((draw(MOMENT), draw(MOMENT)))
    return Work(
        request_id=f"r{number:02}",
        begun_us=begun,
        first_us=draw(st.one_of(st.none(), st.integers(begun, ended))),
        ended_us=ended,
        uncached=draw(COUNT),
        cached=draw(COUNT),
        output=draw(COUNT),
        method="streamed",
        overhead=draw(st.integers(0, 4)) == 0,
    )


@st.composite
def hours(draw: st.DrawFn, most: int = 10) -> list[Work]:
    return [draw(work(number)) for number in range(draw(st.integers(0, most)))]


@st.composite
def pieces(draw: st.DrawFn) -> list[tuple[int, int, Decimal]]:
    """Of the minute: with gaps, and with one price each."""
    cuts = sorted(draw(st.sets(st.integers(0, 600), min_size=2, max_size=6)))
    found = [(begin * 100_000, until * 100_000, draw(PRICE)) for begin, until in pairwise(cuts)]
    return [each for at, each in enumerate(found) if at == 0 or draw(st.booleans())]


def books(works: list[Work], paid: list[tuple[int, int, Decimal]]) -> Split:
    return split_hour(works, paid, STEP, CHUNK)


@given(hours(), pieces())
def test_the_sum_is_exact(works: list[Work], paid: list[tuple[int, int, Decimal]]) -> None:
    found = books(works, paid)
    exact = sum(Fraction(price) * (until - begin) for begin, until, price in paid) * NANO / HOUR_US
    assert abs(found.cost - exact) <= Fraction(1, 2)
    assert found.allocated + found.overhead + found.idle == found.cost
    for name in ("shared", "by_requests", "by_tokens", "by_weight"):
        assert sum(getattr(part, name) for part in found.parts.values()) == found.allocated
    loaded = sum(part.loaded for part in found.parts.values())
    assert loaded == (found.cost if found.allocated else 0)
    assert found.parts.keys() == {each.request_id for each in works if not each.overhead}


@given(hours(), pieces())
def test_nothing_is_negative(works: list[Work], paid: list[tuple[int, int, Decimal]]) -> None:
    found = books(works, paid)
    assert min(found.cost, found.allocated, found.overhead, found.idle, found.busy_us) >= 0
    assert found.busy_us <= found.paid_us
    assert all(min(msgspec.structs.astuple(part)) >= 0 for part in found.parts.values())


@given(hours(), pieces(), st.randoms())
def test_the_order_of_requests_does_not_matter(
    works: list[Work], paid: list[tuple[int, int, Decimal]], random: Random
) -> None:
    other = list(works)
    random.shuffle(other)
    assert books(other, paid) == books(works, paid)


@given(hours(), pieces(), work(90), st.integers(2, 4))
def test_identical_requests_pay_the_same(
    works: list[Work], paid: list[tuple[int, int, Decimal]], same: Work, many: int
) -> None:
    twins = [msgspec.structs.replace(same, request_id=f"twin{at}", overhead=False) for at in range(many)]
    found = books([*works, *twins], paid).parts
    for name in Part.__struct_fields__[:4]:
        amounts = [getattr(found[each.request_id], name) for each in twins]
        assert max(amounts) - min(amounts) <= 1


@given(hours(), pieces(), work(90))
def test_a_request_that_did_nothing_pays_nothing(
    works: list[Work], paid: list[tuple[int, int, Decimal]], one: Work
) -> None:
    idler = msgspec.structs.replace(one, uncached=0, cached=0, output=0, overhead=False)
    found, without = books([*works, idler], paid), books(works, paid)
    assert found.parts.pop("r90") == Part(0, 0, 0, 0, 0)
    assert found == without


@settings(max_examples=60)
@given(hours(), st.lists(st.integers(1, 599), min_size=1, max_size=4, unique=True), PRICE)
def test_splitting_the_window_changes_nothing(works: list[Work], cuts: list[int], price: Decimal) -> None:
    """Exactly, and with each window rounded by itself to within two nano a window."""
    edges = [0, *(each * 100_000 for each in sorted(cuts)), LENGTH]
    windows = list(pairwise(edges))
    whole = money(works, [(0, LENGTH, Fraction(price))], TERMS, CHUNK)
    parts = [money(works, [(*each, Fraction(price))], TERMS, CHUNK) for each in windows]
    assert whole.of == [sum(each) for each in zip(*(part.of for part in parts), strict=True)]
    assert whole.idle == sum(part.idle for part in parts)
    assert whole.busy_us == sum(part.busy_us for part in parts)
    assert whole == money(works, [(*each, Fraction(price)) for each in windows], TERMS, CHUNK)
    rounded, pieces = books(works, [(0, LENGTH, price)]), [books(works, [(*each, price)]) for each in windows]
    for name, part in rounded.parts.items():
        assert abs(part.shared - sum(piece.parts[name].shared for piece in pieces)) <= 2 * (1 + len(windows))


@given(hours(), pieces())
def test_floats_are_within_a_nano_of_fractions(works: list[Work], paid: list[tuple[int, int, Decimal]]) -> None:
    exact = money(works, [(begin, until, Fraction(price)) for begin, until, price in paid], TERMS, CHUNK)
    found = books(works, paid)
    for each, amount in zip(works, exact.of, strict=True):
        if not each.overhead:
            assert abs(found.parts[each.request_id].shared - amount * NANO / HOUR_US) <= Fraction(3, 2)


@given(hours(), work(90), st.tuples(*[st.integers(0, 5000)] * 3))
def test_more_tokens_never_cost_less(works: list[Work], one: Work, more: tuple[int, int, int]) -> None:
    """At the same times, for a request whose first token was seen: exactly, and rounded to within a nano."""
    counts = (one.uncached or 0, one.cached or 0, one.output or 0)
    first = one.begun_us if one.first_us is None else one.first_us
    amounts, rounded = [], []
    for uncached, cached, output in (counts, [sum(pair) for pair in zip(counts, more, strict=True)]):
        fields = {"uncached": uncached, "cached": cached, "output": output, "first_us": first, "overhead": False}
        hour = [*works, msgspec.structs.replace(one, **fields)]
        amounts.append(money(hour, [(0, LENGTH, Fraction(2))], TERMS, CHUNK).of[-1])
        rounded.append(books(hour, [(0, LENGTH, Decimal(2))]).parts["r90"].shared)
    assert amounts[0] <= amounts[1]
    assert rounded[0] <= rounded[1] + 1


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 3000)), max_size=6),
    st.tuples(st.integers(0, 9000), st.integers(0, 9000), st.integers(1, 300)),
    st.tuples(*[st.integers(0, 300)] * 3),
)
def test_more_tokens_of_an_answer_in_one_piece_never_cost_less_at_the_same_speed(
    beside: list[tuple[int, int]], counts: tuple[int, int, int], more: tuple[int, int, int]
) -> None:
    """Its steps are spread over its time, so more of them in the same time would be quicker ones: each takes 30 ms."""
    others = [Work(f"o{at}", 0, 0, LENGTH, *each, 100, "streamed") for at, each in enumerate(beside)]
    amounts = []
    for uncached, cached, output in (counts, [sum(pair) for pair in zip(counts, more, strict=True)]):
        until = 30_000 * steps(uncached, output, CHUNK)
        hour = [*others, Work("one", 0, None, until, uncached, cached, output, "averaged")]
        amounts.append(money(hour, [(0, LENGTH, Fraction(2))], TERMS, CHUNK).of[-1])
    assert amounts[0] <= amounts[1]
