"""Server-sent events, in every form that the standard's grammar has for them."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.events import MAX_EVENT_BYTES, EventMeter, Malformed, data_of, error_object, read, with_data

EVENTS = {
    b"data: {}\n\n": b"{}",
    b"data:{}\n\n": b"{}",
    b"data: {}\r\n\r\n": b"{}",
    b"data: {}\n\r\n": b"{}",
    b"data: {\ndata: }\n\n": b"{\n}",
    b"data:  x\n\n": b" x",
    b"event: a\ndata: {}\n\n": b"{}",
    b"event: a\r\ndata: {}\r\n\r\n": b"{}",
    b"data: {}\nevent: a\n\n": b"{}",
    b"event: a\ndata: {\ndata: }\nid: 1\n\n": b"{\n}",
    b": ping\ndata: {}\n\n": b"{}",
    b"\ndata: {}\n\n": b"{}",
    b": ping\n\n": None,
    b"event: a\n\n": None,
    b"\n\n": None,
    b"data\n\n": None,
}


class _Seen(EventMeter):
    """Notes the data of each event, and passes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.data: list[bytes] = []

    def event(self, event: bytes, data: bytes) -> bytes:
        self.data.append(data)
        return super().event(event, data)


@pytest.mark.parametrize("event", EVENTS)
def test_the_data_of_an_event(event: bytes) -> None:
    assert data_of(event) == EVENTS[event]


@pytest.mark.parametrize("event", [event for event in EVENTS if EVENTS[event] is not None])
def test_other_data_leave_every_other_line(event: bytes) -> None:
    changed = with_data(event, b"new")
    assert data_of(changed) == b"new"
    lines = [line for line in event.split(b"\n") if not line.startswith(b"data:")]
    assert [line for line in changed.split(b"\n") if not line.startswith(b"data:")] == lines
    assert changed.count(b"\r\n") == event.count(b"\r\n")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_other_data_may_have_several_lines(end: bytes) -> None:
    event = end.join([b"id: 1", b"data: a", b"data: b", b"", b""])
    assert with_data(event, b"c\nd") == event.replace(b": a", b": c").replace(b": b", b": d")


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(EVENTS)), max_size=6), st.data())
def test_however_it_is_cut_the_same_events_come_out(events: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    meter = _Seen()
    ends = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    out = b"".join([meter.feed(stream[start:end]) for start, end in ends])
    assert out == stream
    assert meter.data == [EVENTS[event] for event in events if EVENTS[event] is not None]
    assert meter.events == len(meter.data)


def test_half_an_event_waits() -> None:
    meter = EventMeter()
    assert [meter.feed(piece) for piece in (b"data: {", b"}\n", b"\ndata")] == [b"", b"", b"data: {}\n\n"]


def test_an_event_without_end_is_bounded() -> None:
    meter, piece = EventMeter(), b"data: " + b"x" * (MAX_EVENT_BYTES // 4)
    assert [meter.feed(piece) for _ in range(3)] == [b""] * 3
    with pytest.raises(Malformed, match=str(MAX_EVENT_BYTES)):
        meter.feed(piece)


def test_what_does_not_read_is_malformed() -> None:
    def deep(_: bytes) -> None:
        raise RecursionError

    for decode in (bytes.decode, deep):
        with pytest.raises(Malformed, match="no text"):
            read(decode, b"\xff", "it is no text")


@pytest.mark.parametrize(
    ("raw", "error"), [(b'{"message":"m"}', {"message": "m"}), (b'"m"', {"message": "m"}), (b"[1]", {"message": "[1]"})]
)
def test_an_error_is_an_object(raw: bytes, error: object) -> None:
    assert error_object(raw) == error


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_an_event_that_drips_is_looked_at_once(end: bytes) -> None:
    """Its bytes are neither read nor copied again with each that comes: a broken engine must not take all the time."""
    meter, event = EventMeter(), b"data: " + b"x" * (MAX_EVENT_BYTES - 30_000)
    meter.feed(event)
    meter.feed(b"x")
    tracemalloc.start()
    try:
        for _ in range(99):
            assert meter.feed(b"x") == b""
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    passed = [meter.feed(end[at : at + 1]) for at in range(len(end))]
    assert b"".join(passed) == event + b"x" * 100 + end
    assert meter.events == 1
