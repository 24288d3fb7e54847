"""Nothing that an application puts into a head can begin another message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import BodyTooLarge, InvalidRequest, envelope
from gateway.server.head import Refused, fields, head, refusal


def test_a_head() -> None:
    lines, length, close = fields([(b"Content-Type", b"a/b"), (b"x", b"\xc3\xa9\t"), (b"content-length", b"7")])
    assert (length, close) == (7, False)
    assert head(200, lines) == b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\nx: \xc3\xa9\t\r\ncontent-length: 7\r\n\r\n"
    assert head(599, []) == b"HTTP/1.1 599 \r\n\r\n"


@pytest.mark.parametrize("value", [b"close", b"Close", b"keep-alive, close"])
def test_how_a_connection_goes_on_is_said_by_the_server(value: bytes) -> None:
    assert fields([(b"Connection", value), (b"transfer-encoding", b"chunked")]) == ([], None, True)
    assert fields([(b"connection", b"keep-alive")]) == ([], None, False)


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"a\x00", b"\xc3\xa9", b"(a)"])
def test_a_name_is_a_token(name: bytes) -> None:
    with pytest.raises(RuntimeError, match="token"):
        fields([(name, b"v")])


@pytest.mark.parametrize("lengths", [[b"3", b"3"], [b"-3"], [b""], [b"0x3"], [b"3\r\nx: y"]])
def test_a_length_is_one_number(lengths: list[bytes]) -> None:
    with pytest.raises(RuntimeError, match="content-length"):
        fields([(b"Content-Length", length) for length in lengths])


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600])
def test_a_status_is_final(status: int) -> None:
    with pytest.raises(RuntimeError, match="200 to 599"):
        head(status, [])


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=4))
def test_a_value_never_ends_its_line(values: list[bytes]) -> None:
    lines, _, _ = fields([(b"x", value) for value in values])
    evil = any(byte == 0x7F or (byte < 0x20 and byte != 0x09) for byte in b"".join(values))
    if evil:
        with pytest.raises(RuntimeError, match="control character"):
            head(200, lines)
    else:
        assert head(200, lines).count(b"\n") == len(values) + 2


def test_a_refusal_is_an_envelope() -> None:
    error = InvalidRequest("no")
    said = refusal(Refused(error, 431), [(b"date", b"today")])
    assert said.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\ndate: today\r\n")
    assert said.endswith(b"connection: close\r\n\r\n" + envelope(error))
    assert refusal(Refused(BodyTooLarge("much")), ()).startswith(b"HTTP/1.1 413 ")
