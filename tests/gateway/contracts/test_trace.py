"""W3C Trace Context: what is well formed passes unchanged, and nothing else does."""

import asyncio
import itertools

import pytest

from gateway.client import ClientGone
from gateway.contracts.errors import UpstreamOverloaded
from gateway.contracts.trace import MOST_STATE, Parent, Trace, lines, parent_of, passed_on
from gateway.relay import AnotherReplica

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()
LATER = f"01-{TRACE}-{SPAN}-01-what-comes-later".encode()


def test_a_parent_is_read() -> None:
    assert parent_of(PARENT, b"a=1,b=2") == Parent(TRACE, SPAN, sampled=True, state=b"a=1,b=2")
    assert parent_of(PARENT[:-1] + b"2", None) == Parent(TRACE, SPAN, sampled=False)


@pytest.mark.parametrize("text", [PARENT, LATER])
def test_it_passes_unchanged(text: bytes) -> None:
    assert passed_on(text, b"a=1") == b"traceparent: %b\r\ntracestate: a=1\r\n" % text
    assert passed_on(text, None) == b"traceparent: %b\r\n" % text


@pytest.mark.parametrize(
    "text",
    [
        b"", b"hello", PARENT + b"-more", PARENT.upper(), b"ff" + PARENT[2:], PARENT[:-1], PARENT + b"\n",
        f"00-{'0' * 32}-{SPAN}-01".encode(), f"00-{TRACE}-{'0' * 16}-01".encode(),
    ],
)  # fmt: skip
def test_what_is_not_well_formed_is_not_there(text: bytes) -> None:
    assert parent_of(text, b"a=1") is None
    assert passed_on(text, b"a=1") == b""


@pytest.mark.parametrize("state", [b"a=" + b"x" * MOST_STATE, b"a=\r\nevil: 1", b"a=\xff", b""])
def test_a_state_that_cannot_be_passed_on_is_left_out(state: bytes) -> None:
    assert passed_on(PARENT, state) == b"traceparent: %b\r\n" % PARENT


def test_the_lines_of_a_span_are_read_as_its_parent() -> None:
    text = lines(TRACE, SPAN, b"a=1", sampled=False)
    found = dict(line.split(b": ") for line in text.split(b"\r\n")[:-1])
    assert parent_of(found[b"traceparent"], found[b"tracestate"]) == Parent(TRACE, SPAN, sampled=False, state=b"a=1")


async def _raise(error: BaseException) -> None:
    raise error


async def test_an_attempt_notes_its_time_and_its_error() -> None:
    spans, times = (f"{number:016x}" for number in itertools.count(1)), itertools.count(10.0, 1.0)
    trace = Trace(None, TRACE, spans.__next__, times.__next__, 5.0, "/v1/chat/completions", "tg-1")
    overloaded = AnotherReplica(UpstreamOverloaded("busy"))
    for error in (overloaded, ClientGone(), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            await trace.attempt("r1", _raise(error))
    await trace.attempt("r2", asyncio.sleep(0))
    assert [each.error for each in trace.attempts] == ["upstream_overloaded", "client_closed", "CancelledError", None]
    assert [(each.begun, each.ended) for each in trace.attempts][:2] == [(11.0, 12.0), (13.0, 14.0)]
    assert trace.context == lines(TRACE, trace.attempts[-1].span_id, sampled=True)
    assert len({trace.span_id, *(each.span_id for each in trace.attempts)}) == 5
