"""What is the same for every client: the bounds of its body, its departure, and what it is told in which dialect."""

import json
import tracemalloc
from collections import deque
from collections.abc import Iterable
from typing import Any, get_args

import pytest

from gateway.client import JSON, SSE, Client, ClientGone, Message, gathered
from gateway.contracts.envelopes import Dialect, envelope, event
from gateway.contracts.errors import (
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    ReleaseNotGated,
    UpstreamOverloaded,
)

BUSY = UpstreamOverloaded("busy", retry_after=3)
SLOW_DOWN = JSON + b"retry-after: 3\r\n"
DIALECTS = get_args(Dialect)
GONE: Message = {"type": "http.disconnect"}


class Carried(Client):
    """A client whose messages are there already. `said` is what it was told: heads with their lengths, then pieces."""

    def __init__(self, messages: Iterable[Message] = (), headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__("POST", "/v1/completions", 5.0)
        self.incoming = deque(messages)
        self.headers = dict(headers)
        self.said: list[tuple[Any, ...]] = []

    def header(self, name: bytes) -> bytes | None:
        return self.headers.get(name)

    async def _receive(self) -> Message:
        return self.incoming.popleft()

    async def _body(self, limit: int) -> bytes:
        return await gathered(self._receive, limit)

    def _begin(self, status: int, lines: bytes, length: int | None) -> None:
        self.said.append((status, lines, length))

    def _say(self, data: bytes, *, more: bool) -> None:
        self.said.append((data, more))


def _body(*pieces: bytes) -> list[Message]:
    last = len(pieces) - 1
    return [{"type": "http.request", "body": piece, "more_body": at < last} for at, piece in enumerate(pieces)]


@pytest.mark.parametrize("pieces", [(b"",), (b"abc",), (b"a", b"", b"bc"), (b"abc", b"")])
async def test_a_body_is_read_whole(pieces: tuple[bytes, ...]) -> None:
    assert await Carried(_body(*pieces)).read_body(3) == b"".join(pieces)


async def test_a_message_without_a_body_is_an_empty_one() -> None:
    assert await Carried([{"type": "http.request"}]).read_body(3) == b""


@pytest.mark.parametrize("length", [None, b"1", b"nonsense", b"-4", b""])
async def test_a_body_is_bounded_whatever_its_length_claims(length: bytes | None) -> None:
    client = Carried(
        [*_body(b"ab", b"cd"), *_body(b"never read")], [] if length is None else [(b"content-length", length)]
    )
    with pytest.raises(BodyTooLarge, match=r"larger than 3 bytes: send less, or raise `limits\.max_body_bytes`"):
        await client.read_body(3)
    assert list(client.incoming) == _body(b"never read")


async def test_a_body_that_announces_too_much_is_not_read_at_all() -> None:
    client = Carried(_body(b"abc"), [(b"content-length", b"4")])
    with pytest.raises(BodyTooLarge, match="larger than 3 bytes"):
        await client.read_body(3)
    assert list(client.incoming) == _body(b"abc")


@pytest.mark.parametrize("zeros", [0, 1, 5000])
async def test_a_body_may_be_as_large_as_the_limit(zeros: int) -> None:
    length = b"0" * zeros + b"3"
    assert await Carried(_body(b"abc"), [(b"content-length", length)]).read_body(3) == b"abc"


async def test_a_length_of_thousands_of_digits_is_too_much() -> None:
    with pytest.raises(BodyTooLarge):
        await Carried(_body(b"abc"), [(b"content-length", b"1" * 5000)]).read_body(3)


async def test_a_body_in_the_smallest_pieces_takes_no_more_memory_than_it_is_large() -> None:
    client, size = Carried(_body(*[b"ab"] * 50_000)), 100_000
    tracemalloc.start()
    try:
        assert len(await client.read_body(size)) == size
        assert tracemalloc.get_traced_memory()[1] < 4 * size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pieces", [[], _body(b"a", b"b")[:1]])
async def test_half_a_body_is_none(pieces: list[Message]) -> None:
    with pytest.raises(ClientGone):
        await Carried([*pieces, GONE]).read_body(3)


def test_a_departure_ends_what_is_under_way() -> None:
    client, reasons = Carried(), list[str]()
    client.aborts(reasons.append)
    assert (client.gone, reasons) == (False, [])
    client.departed()
    assert (client.gone, reasons) == (True, ["the client left"])


def test_a_departure_before_the_attempt_ends_it_at_once() -> None:
    client, reasons = Carried(), list[str]()
    client.departed()
    client.aborts(None)
    assert reasons == []
    client.aborts(reasons.append)
    assert reasons == ["the client left"]


def test_a_departure_ends_the_last_attempt_alone() -> None:
    client, first, second = Carried(), list[str](), list[str]()
    client.aborts(first.append)
    client.aborts(second.append)
    client.departed()
    assert (first, second) == ([], ["the client left"])


def test_nothing_is_ended_after_the_attempt() -> None:
    client, reasons = Carried(), list[str]()
    client.aborts(reasons.append)
    client.aborts(None)
    client.departed()
    assert (client.gone, reasons) == (True, [])


def test_an_attempt_may_let_go_of_its_client_when_it_is_ended() -> None:
    client, reasons = Carried(), list[str]()

    def end(reason: str) -> None:
        client.aborts(None)
        reasons.append(reason)

    client.aborts(end)
    client.departed()
    client.departed()
    assert reasons == ["the client left"]


def test_a_whole_answer() -> None:
    client = Carried()
    assert not client.started
    client.answer(200, JSON, b"{}")
    assert client.started
    assert client.said == [(200, JSON, 2), (b"{}", False)]


def test_a_stream() -> None:
    client = Carried()
    client.stream(b"x: 1\r\n")
    assert client.started
    client.write(b"a")
    client.write(b"", more=False)
    assert client.said == [(200, SSE + b"x: 1\r\n", None), (b"a", True), (b"", False)]


def test_every_answer_carries_the_lines_of_its_client() -> None:
    for say, lines in (
        (lambda client: client.answer(404, JSON, b""), JSON),
        (lambda client: client.stream(b"x: 1\r\n"), SSE + b"x: 1\r\n"),
        (lambda client: client.fail(BUSY), SLOW_DOWN),
    ):
        client = Carried()
        client.lines = b"y: 2\r\nz: 3\r\n"
        say(client)
        assert client.said[0][1] == lines + b"y: 2\r\nz: 3\r\n"


@pytest.mark.parametrize("begun", [True, False])
def test_nothing_is_said_to_a_client_that_left(begun: bool) -> None:
    client = Carried()
    if begun:
        client.stream(b"")
    said = list(client.said)
    client.departed()
    for say in (
        lambda: client.answer(200, JSON, b"{}"),
        lambda: client.stream(b""),
        lambda: client.write(b"a"),
        lambda: client.write(b"", more=False),
        lambda: client.fail(BUSY),
    ):
        with pytest.raises(ClientGone):
            say()
    assert (client.said, client.started) == (said, begun)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("error", [BUSY, InvalidRequest("m", param="n")], ids=["busy", "invalid"])
def test_an_error_before_the_answer_is_a_status(dialect: Dialect, error: InvalidRequest) -> None:
    client = Carried()
    client.dialect, client.request_id, client.events = dialect, "r1", 7
    client.fail(error)
    body = envelope(error, dialect, "r1")
    assert client.said == [(error.status, SLOW_DOWN if error is BUSY else JSON, len(body)), (body, False)]


def test_an_error_is_openais_unless_another_dialect_is_asked() -> None:
    client = Carried()
    client.fail(BUSY)
    (status, lines, _), (body, more) = client.said
    assert (status, lines, more) == (503, SLOW_DOWN, False)
    assert json.loads(body)["error"]["code"] == "upstream_overloaded"


def test_without_a_time_to_come_back_none_is_told() -> None:
    client = Carried()
    client.fail(InternalError("m"))
    assert client.said[0][:2] == (500, JSON)


def test_a_client_is_told_not_to_repeat_what_does_not_pass() -> None:
    client = Carried()
    client.fail(ReleaseNotGated("m"))
    assert client.said[0][:2] == (503, JSON + b"x-should-retry: false\r\n")


def test_a_client_of_another_method_is_told_the_one_that_there_is() -> None:
    client = Carried()
    client.fail(MethodNotAllowed("not this one"))
    assert client.said[0][:2] == (405, JSON + b"allow: POST\r\n")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_in_a_stream_is_its_last_event(dialect: Dialect) -> None:
    client = Carried()
    client.dialect, client.request_id, client.events = dialect, "r1", 7
    client.stream(b"")
    client.write(b"a")
    client.fail(BUSY)
    last, more = client.said[-1]
    assert (last, more) == (event(BUSY, dialect, "r1", 7), False)
    assert len(client.said) == 3
    told = json.loads(last[last.index(b"data: ") + 6 :])
    assert last.endswith(b"\n\n")
    assert told.get("error", told)["message"] == "busy"
    assert told.get("sequence_number") == (7 if dialect == "responses" else None)
    assert told.get("request_id") == ("r1" if dialect == "anthropic" else None)


def test_an_error_after_a_whole_answer_is_a_defect() -> None:
    client = Carried()
    client.answer(200, b"", b"{}")
    with pytest.raises(InternalError):
        client.fail(BUSY)
    assert len(client.said) == 2
