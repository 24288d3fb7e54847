"""What a client sends, cut anywhere, is read in one way; what is ambiguous is not read at all."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.server.head import Refused
from gateway.server.reader import Head, Reader
from tests.gateway.listening import GET, post

LIMIT = 1000
H2C = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n"


class Read:
    """The requests that were read: (method, path, headers, body or None, keep-alive)."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.reader = Reader(self, limit)
        self.heads: list[Head] = []
        self.bodies: list[bytes] = []
        self.whole = 0
        self.refused: int | None = None

    def on_head(self, head: Head) -> None:
        """Begun."""
        self.heads.append(head)
        self.bodies.append(b"")

    def on_piece(self, body: bytes) -> None:
        """A piece."""
        self.bodies[-1] += body

    def on_whole(self) -> None:
        """Whole."""
        self.whole += 1

    def feed(self, *pieces: bytes) -> "Read":
        """Feed, as a connection does: until something is refused."""
        try:
            for piece in pieces:
                self.reader.feed(piece)
        except Refused as refused:
            self.refused = refused.status
            self.reader.stop()
            self.reader.feed(b"anything")
        return self

    @property
    def all(self) -> tuple[Any, ...]:
        """Everything that was read."""
        return [(head.scope, head.keep_alive, head.expects_continue) for head in self.heads], self.bodies, self.whole


def _read(*pieces: bytes, limit: int = LIMIT) -> Read:
    return Read(limit).feed(*pieces)


CHUNKED = b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\ntrailer: no\r\n\r\n"
STREAMS: dict[str, tuple[bytes, list[bytes]]] = {
    "one after the other": (GET + post(b"xyz") + CHUNKED + GET, [b"", b"xyz", b"abcde", b""]),
    "h2c with a body": (
        b"POST /a HTTP/1.1\r\n" + H2C + b"content-length: 29\r\n\r\nGET /evil HTTP/1.1\r\na: b\r\n\r\n." + GET,
        [b"GET /evil HTTP/1.1\r\na: b\r\n\r\n.", b""],
    ),
    "h2c, chunked": (
        b"POST /a HTTP/1.1\r\n" + H2C + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + GET,
        [b"x", b""],
    ),
    "websocket": (b"GET /w HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + GET, [b"", b""]),
    "empty lines between": (b"\r\n" + GET + b"\r\n\r\n" + GET, [b"", b""]),
    "after the last": (GET.replace(b"host: h", b"connection: close") + GET + b"garbage", [b""]),
    "after HTTP/1.0": (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" + post(b"xyz") + GET, [b""]),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_in_one_way_however_it_is_cut(name: str) -> None:
    stream, bodies = STREAMS[name]
    expected = _read(stream)
    assert (expected.bodies, expected.whole, expected.refused) == (bodies, len(bodies), None)
    for at in range(1, len(stream)):
        assert _read(stream[:at], stream[at:]).all == expected.all
    assert _read(*(stream[at : at + 1] for at in range(len(stream)))).all == expected.all


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(STREAMS)), min_size=1, max_size=4), st.data())
def test_and_so_are_several(names: list[str], data: st.DataObject) -> None:
    stream = b"".join(STREAMS[name][0] for name in names)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=8)))
    pieces = [stream[at:end] for at, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert _read(*pieces).all == _read(stream).all


def test_what_asks_for_an_upgrade_is_not_handed_on() -> None:
    (scope, keep_alive, _), *_ = _read(STREAMS["h2c with a body"][0]).all[0]
    assert b"upgrade" not in dict(scope["headers"])
    assert (scope["method"], scope["path"], keep_alive) == ("POST", "/a", True)


def test_many_upgrades_in_one_piece() -> None:
    assert _read(STREAMS["websocket"][0] * 2000).whole == 4000


def test_a_trailer_is_no_header() -> None:
    (scope, *_), *_ = _read(CHUNKED).all[0]
    assert scope["headers"] == [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    ("target", "path", "raw", "query"),
    [
        (b"/a/b?x=1&y=%20?z", "/a/b", b"/a/b", b"x=1&y=%20?z"),
        (b"/%61%2Fb%C3%A9", "/a/bé", b"/%61%2Fb%C3%A9", b""),
        (b"/%ff%00", "/�\x00", b"/%ff%00", b""),
        (b"http://evil:1/v1/x?q", "/v1/x", b"/v1/x", b"q"),
        (b"http://evil?q", "/", b"/", b"q"),
        (b"//evil/v1", "//evil/v1", b"//evil/v1", b""),
        (b"/a/../b;c", "/a/../b;c", b"/a/../b;c", b""),
        (b"/v1/models#x", "/v1/models#x", b"/v1/models#x", b""),
        (b"*", "*", b"*", b""),
    ],
)
def test_a_target(target: bytes, path: str, raw: bytes, query: bytes) -> None:
    (head,) = _read(b"GET %b HTTP/1.1\r\n\r\n" % target).heads
    assert (head.path.encode(), head.query) == (raw, query)
    scope = head.scope
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw, query)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_head_and_what_asgi_says_of_it(version: str) -> None:
    said = f"POST /a%62?c HTTP/{version}\r\nX-Y: Z\r\nExpect: 100-Continue\r\nx-y: W\r\ncontent-length: 3\r\n\r\n"
    (head,) = _read(said.encode()).heads
    headers = [(b"x-y", b"Z"), (b"expect", b"100-Continue"), (b"x-y", b"W"), (b"content-length", b"3")]
    assert (head.method, head.path, head.query, head.version) == ("POST", "/a%62", b"c", version)
    assert (head.headers, head.keep_alive, head.expects_continue) == (headers, version == "1.1", version == "1.1")
    assert head.scope == {
        "method": "POST",
        "path": "/ab",
        "raw_path": b"/a%62",
        "query_string": b"c",
        "http_version": version,
        "headers": headers,
    }


def test_what_asgi_is_told_of_one_head_is_not_that_of_another() -> None:
    (first, second) = _read(GET + GET).heads
    first.scope["path"] = "/elsewhere"
    assert (first.scope, first.path) == (second.scope, "/a")


@pytest.mark.parametrize("target", [b"a", b"", b"http://h:99999999/"])
def test_a_head_has_a_target(target: bytes) -> None:
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            Head("GET", target, "1.1", [], keep_alive=True, expects_continue=False)
        assert refused.value.status == 400


POST = b"POST /a HTTP/1.1\r\n%b\r\n\r\n0\r\n\r\n"
REFUSED: dict[str, bytes] = {
    "length and chunks": POST % b"content-length: 5\r\ntransfer-encoding: chunked",
    "chunks and length": POST % b"transfer-encoding: chunked\r\ncontent-length: 5",
    "two lengths": POST % b"content-length: 5\r\ncontent-length: 6",
    "a length twice": POST % b"content-length: 5\r\ncontent-length: 5",
    "a list of lengths": POST % b"content-length: 5, 5",
    "a signed length": POST % b"content-length: +5",
    "a negative length": POST % b"content-length: -5",
    "a hexadecimal length": POST % b"content-length: 0x5",
    "a huge length": POST % b"content-length: 99999999999999999999",
    "an empty length": POST % b"content-length:",
    "chunks that are not last": POST % b"transfer-encoding: chunked, identity",
    "chunks twice": POST % b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "another coding": POST % b"transfer-encoding: gzip",
    "almost chunked": POST % b"transfer-encoding: xchunked",
    "a tab before": POST % b"transfer-encoding: \x0bchunked",
    "a space in a name": POST % b"transfer-encoding : chunked",
    "a folded line": POST % b"x: y\r\n transfer-encoding: chunked",
    "a NUL in a name": POST % b"x\x00: y",
    "a NUL in a value": POST % b"x: y\x00z",
    "a bare CR": POST % b"x: y\rz: 1",
    "bare line feeds": b"GET / HTTP/1.1\nx: y\n\n",
    "no number of a chunk": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "a chunk longer than it says": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "a huge chunk": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0 in plain": b"GET / HTTP/2.0\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no method": b"BREW / HTTP/1.1\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    "no target": b"GET a HTTP/1.1\r\n\r\n",
    "a target that is not ASCII": "GET /é HTTP/1.1\r\n\r\n".encode(),
    "a port that is none": b"GET http://h:99999999/ HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_or_no_http_is_refused(name: str) -> None:
    for pieces in ([REFUSED[name]], [REFUSED[name][at : at + 1] for at in range(len(REFUSED[name]))]):
        read = _read(*pieces)
        assert (read.refused, read.whole) == (400, 0)


@pytest.mark.parametrize("step", [1, 7, LIMIT // 2 + 9, LIMIT - 9, 100_000])
@pytest.mark.parametrize("before", [b"", GET, post(bytes(5000))])
def test_a_head_is_bounded_to_the_byte(step: int, before: bytes) -> None:
    def read(value: int) -> Read:
        said = before + b"GET / HTTP/1.1\r\nx: %b\r\n\r\n" % (b"v" * value)
        return _read(*(said[at : at + step] for at in range(0, len(said), step)))

    most = LIMIT - len(b"/x") - 4
    heads = 2 if before else 1
    # Bytes that belong to no field count when they come one by one: the request line and the last line.
    assert len(read(most - 30).heads) == heads
    assert (read(most + 1).refused, len(read(most + 1).heads)) == (431, heads - 1)


@pytest.mark.parametrize(
    "endless", [b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\n", b"GET /", CHUNKED[:-8], CHUNKED[:52]]
)
@pytest.mark.parametrize("more", [b"a", b"a: b\r\n"])
def test_what_is_kept_is_bounded(endless: bytes, more: bytes) -> None:
    read = _read(endless, *[more] * 3 * LIMIT)
    assert read.refused in (400, 431)
    assert read.whole == 0


@pytest.mark.parametrize(
    ("said", "path"),
    [
        (b"", ""),
        (b"GET /a", "/a"),
        (GET + b"GET /b?c=d HTTP/1.1\r\n", "/b"),
        (post(b"abc", path=b"/b")[:-1], "/b"),
        (b"GET http://h/b HTTP/1.1\r\ncontent-length: x\r\n\r\n", "/b"),
        (b"GET http:// HTTP/1.1\r\n", ""),
        (b"GET http://h/" + b"b" * 70_000, ""),
        (GET + b"BREW /b HTTP/1.1\r\n", ""),
    ],
)
def test_the_path_is_known_as_far_as_it_came(said: bytes, path: str) -> None:
    assert _read(said).reader.path == path


def test_a_body_is_not_counted() -> None:
    assert _read(*[post(bytes(10 * LIMIT))[at : at + 50] for at in range(0, 10 * LIMIT + 100, 50)]).whole == 1


def test_what_is_stopped_reads_nothing() -> None:
    read = Read()
    read.reader.feed(post(b"abc")[:-1])
    read.reader.stop()
    read.reader.feed(b"c")
    assert (read.whole, read.bodies) == (0, [b"ab"])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from([b"", GET, CHUNKED[:60], POST % b"x: y"]))
def test_random_bytes_are_read_or_refused(pieces: list[bytes], before: bytes) -> None:
    read = _read(before, *pieces)
    assert read.whole <= len(read.heads)
    assert read.reader.path.isascii()
