"""Nothing that an application puts into a head can begin another message."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.envelopes import envelope
from gateway.contracts.errors import BodyTooLarge, InvalidRequest
from gateway.server.head import Refused, common_line, fields, line, refusal, status_line

NAMES = [b"", b"a b", b"a:", b"a\r\nb", b"a\x00", b"\xc3\xa9", b"(a)", b"a\n"]
FRAMING = [b"Content-Length", b"content-length", b"Connection", b"Transfer-Encoding", b"TRANSFER-ENCODING"]
one_line = pytest.mark.parametrize("said", [line, common_line], ids=["line", "common_line"])


def test_fields() -> None:
    lines, length, close = fields([(b"Content-Type", b"a/b"), (b"x", b"\xc3\xa9\t"), (b"content-length", b"7")])
    assert lines == [b"content-type: a/b\r\n", b"x: \xc3\xa9\t\r\n"]
    assert (length, close) == (7, False)


@one_line
def test_a_line(said: Callable[[bytes, bytes], bytes]) -> None:
    for _ in range(2):
        assert said(b"X-Much", b"\xc3\xa9\t: ~") == b"x-much: \xc3\xa9\t: ~\r\n"
        assert said(b"x", b"") == b"x: \r\n"


@one_line
@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_line_is_a_token(said: Callable[[bytes, bytes], bytes], name: bytes) -> None:
    for _ in range(2):  # what was refused is not remembered as good
        with pytest.raises(RuntimeError, match="token"):
            said(name, b"v")


@one_line
@pytest.mark.parametrize("name", FRAMING)
def test_no_line_says_how_a_message_is_framed(said: Callable[[bytes, bytes], bytes], name: bytes) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match=f"only speaks of its answer, found b'{name.decode()}'"):
            said(name, b"1")


@pytest.mark.parametrize("value", [b"close", b"Close", b"keep-alive, close"])
def test_how_a_connection_goes_on_is_said_by_the_server(value: bytes) -> None:
    assert fields([(b"Connection", value), (b"transfer-encoding", b"chunked")]) == ([], None, True)
    assert fields([(b"connection", b"keep-alive")]) == ([], None, False)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_token(name: bytes) -> None:
    with pytest.raises(RuntimeError, match="token"):
        fields([(name, b"v")])


@pytest.mark.parametrize("lengths", [[b"3", b"3"], [b"-3"], [b""], [b"0x3"], [b"3\r\nx: y"]])
def test_a_length_is_one_number(lengths: list[bytes]) -> None:
    with pytest.raises(RuntimeError, match="content-length"):
        fields([(b"Content-Length", length) for length in lengths])


def test_how_an_answer_begins() -> None:
    assert status_line(200) == b"HTTP/1.1 200 OK\r\n"
    assert status_line(431) == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    assert status_line(599) == b"HTTP/1.1 599 \r\n"


@pytest.mark.parametrize("status", [-200, 0, 100, 101, 199, 600])
def test_a_status_is_final(status: int) -> None:
    with pytest.raises(RuntimeError, match="200 to 599"):
        status_line(status)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=8), min_size=1, max_size=4))
def test_a_value_never_ends_its_line(values: list[bytes]) -> None:
    headers = [(b"x", value) for value in values]
    if any(byte == 0x7F or (byte < 0x20 and byte != 0x09) for byte in b"".join(values)):
        with pytest.raises(RuntimeError, match="control character"):
            fields(headers)
    else:
        lines, _, _ = fields(headers)
        assert lines == [b"x: " + value + b"\r\n" for value in values]


@pytest.mark.parametrize("control", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_no_control_character_is_let_through(control: int) -> None:
    for value in (b"%c", b"a%c", b"%cb", b"a\r\n%c"):
        for said in (line, common_line, lambda *header: fields([header])):
            with pytest.raises(RuntimeError):
                said(b"x", value % control)


@settings(deadline=None)
@given(st.text("aZ-0 :\n", max_size=3), st.text("a \t\n\xe9", max_size=4))
def test_a_line_is_what_a_field_is(name: str, value: str) -> None:
    header = name.encode(), value.encode("latin-1")
    try:
        expected, _, _ = fields([header])
    except RuntimeError:
        expected = []
    for said in (line, common_line):
        if expected:
            assert [said(*header)] == expected
        else:
            with pytest.raises(RuntimeError):
                said(*header)


def test_a_refusal_is_an_envelope() -> None:
    error = InvalidRequest("no")
    said = refusal(Refused(error, 431), "", [(b"date", b"today")])
    assert said.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\ndate: today\r\n")
    assert said.endswith(b"connection: close\r\n\r\n" + envelope(error))
    assert refusal(Refused(BodyTooLarge("much")), "", ()).startswith(b"HTTP/1.1 413 ")


def test_a_refusal_is_in_the_dialect_of_its_path() -> None:
    error = InvalidRequest("no")
    assert refusal(Refused(error), "/v1/messages/x", ()).endswith(b"\r\n\r\n" + envelope(error, "anthropic"))
    assert refusal(Refused(error), "/v1/completions", ()).endswith(b"\r\n\r\n" + envelope(error))
