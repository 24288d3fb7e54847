"""A decision is kept whole, and made again from what was kept it comes out the same."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import InputError
from gateway.policy.decisions import Decided, Routed, Ruled, ascii_json, decode, encode
from gateway.policy.prefixes import MOST_BLOCKS
from gateway.policy.routing import POLICIES, Ask, Candidate

SHARES = st.none() | st.floats(0.0, 1.0)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        name=st.text(min_size=1, max_size=8),
        weight=st.floats(0.1, 1.0),
        in_flight=st.integers(0, 500),
        outstanding=st.integers(0, 10**6),
        cached=st.integers(0, 10**5),
        kv_usage=SHARES,
        waiting=st.none() | st.integers(0, 100),
    ),
    min_size=1,
    max_size=8,
).map(tuple)
WORD = st.integers(0, 2**64 - 1)
ASKS = st.builds(Ask, tokens=st.integers(0, 10**6), affinity=WORD, turn=st.integers(0, 10**9), draw=WORD)


@given(st.sampled_from(sorted(POLICIES)), CANDIDATES, ASKS)
def test_law_10_what_the_ledger_keeps_gives_the_same_choice_again(
    policy: str, candidates: tuple[Candidate, ...], ask: Ask
) -> None:
    made = POLICIES[policy](candidates, ask)
    kept = encode(Decided(config="sha256:0", routes=[Routed(policy, candidates, ask, made.position, made.reason)]))
    (route,) = decode(kept).routes
    assert route.again() == made
    assert (route.position, route.reason) == (made.position, made.reason)


def test_everything_comes_back() -> None:
    decided = Decided(
        "sha256:0", [Ruled("faq", "default", "live", "BR-SP", {"local.hour": 18})], [], 0.25, [2**64 - 1], 512
    )
    assert decode(encode(decided)) == decided


def test_a_header_takes_ascii_alone() -> None:
    decided = Decided(ruled=[Ruled("faq", "feriado", "live", "BR-SP", {"headers.x-city": "São\r\nPaulo"})])
    told = ascii_json(decided)
    assert told.isascii()
    assert b"\n" not in told
    assert decode(told.decode()) == decided


def test_a_header_is_small_however_long_the_prompt_was() -> None:
    routed = Routed("score", (Candidate("a"), Candidate("b")), Ask(7), 1, "load")
    short, long = (Decided("sha256:0", [], [routed], 0.25, [2**64 - 1] * n, 512) for n in (0, MOST_BLOCKS))
    assert ascii_json(long) == ascii_json(short)
    assert decode(ascii_json(long)).routes == [routed]


@given(st.lists(st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers(0, 50), max_size=4), max_size=3))
def test_what_is_written_piece_by_piece_reads_as_one(inputs: list[dict[str, str | int]]) -> None:
    ruled = [Ruled("faq", "default", "live", "BR-SP", each) for each in inputs]
    routed = Routed("score", (Candidate("a"), Candidate("b")), Ask(7), 1, "load")
    deciding = Decided("sha256:0", [msgspec.Raw(msgspec.json.encode(each)) for each in ruled], [routed], 0.25, [1], 512)
    whole = Decided("sha256:0", ruled, [routed], 0.25, [1], 512)
    assert decode(encode(deciding)) == whole
    assert encode(deciding) == encode(whole)
    assert ascii_json(deciding) == ascii_json(whole)


def test_what_was_not_decided_takes_no_room() -> None:
    assert bytes(encode(Decided())) == b"{}"


def test_a_policy_that_is_no_more_is_named() -> None:
    with pytest.raises(InputError, match="'by_moon' decided this"):
        Routed("by_moon", (Candidate("a"),), Ask(), 0, "moon").again()


@pytest.mark.parametrize("wrong", ["", "[]", '{"routes": [["score"]]}'])
def test_what_cannot_be_read_is_said(wrong: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        decode(wrong)
