"""Two readers of the same bytes: what one could take for two requests, or for another model, reaches no engine."""

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine import raw
from tests.gateway.server.test_reader import REFUSED
from tests.security.front import BODY, CHAT, HELLO, Front, request

POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n"


def _smuggled(key: str) -> bytes:
    return request(b"POST", b"/v1/completions", key=key, body=b'{"model":"faq","prompt":"smuggled"}')


FRAMES = (
    b"content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"content-length: %d\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\ncontent-length: %d\r\n\r\n0\r\n\r\n",
    b"content-length: 0\r\ncontent-length: %d\r\n\r\n",
    b"content-length: %d\r\ncontent-length: 0\r\n\r\n",
    b"content-length: 0, %d\r\n\r\n",
    b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: identity, chunked\r\ncontent-length: %d\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: xchunked\r\ncontent-length: %d\r\n\r\n",
    b"transfer-encoding : chunked\r\ncontent-length: %d\r\n\r\n0\r\n\r\n",
    b"x: y\r\n transfer-encoding: chunked\r\ncontent-length: %d\r\n\r\n0\r\n\r\n",
    b"transfer-encoding:\x0bchunked\r\ncontent-length: %d\r\n\r\n0\r\n\r\n",
    b"content-length: +%d\r\n\r\n",
    b"content-length: 0x%x\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n0;a=\n\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n0\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n1_0\r\n\r\n",
)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_request_in_an_ambiguous_frame_is_none(house: Front, frame: bytes) -> None:
    inner = _smuggled(house.key)
    frame = frame % len(inner) if b"%" in frame else frame
    answers = house.says(POST + b"authorization: Bearer " + house.key.encode() + b"\r\n" + frame + inner)
    assert [answer[0] for answer in answers] == [400]
    assert house.heard() == []


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_after_what_is_no_http_is_read(house: Front, name: str) -> None:
    answers = house.says(REFUSED[name] + _smuggled(house.key) * 2)
    assert [answer[0] for answer in answers] in ([400], [401, 400], [404, 400], [405, 400], [401], [404])
    assert house.heard() == []


def test_a_body_is_a_body_whatever_is_in_it(house: Front) -> None:
    """A request in another one's body is not read as one, in chunks or in one piece, with extensions and trailers."""

    @given(st.binary(max_size=20), st.integers(0, 3), st.sampled_from([b"", b";a=b", b';a="\t"', b";" + b"x" * 200]))
    def check(before: bytes, trailers: int, extension: bytes) -> None:
        inner = before + _smuggled(house.key)
        cut = len(inner) // 2
        chunks = b"".join(
            b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in (inner[:cut], inner[cut:]) if piece
        )
        tail = b"0\r\n" + b"authorization: Bearer x\r\n" * trailers + b"\r\n"
        head = POST + b"connection: close\r\nauthorization: Bearer " + house.key.encode() + b"\r\n"
        for said in (
            head + b"transfer-encoding: chunked\r\n\r\n" + chunks + tail,
            head + b"content-length: %d\r\n\r\n" % len(inner) + inner,
        ):
            assert [answer[0] for answer in house.says(said)] == [400]
            assert house.heard() == []

    check()


def test_http_1_0_gets_one_answer_and_no_chunks(house: Front) -> None:
    said = request(b"POST", CHAT.encode(), key=house.key, body=json.dumps({**HELLO, "stream": True}).encode())
    answers = house.says(said.replace(b"HTTP/1.1", b"HTTP/1.0") + _smuggled(house.key))
    assert len(answers) <= 1
    assert house.heard() == [CHAT]


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"other","messages":[],"model":"faq"}',
        b'{"mod\\u0065l":"other","messages":[],"model":"faq"}',
        b'{"model":"other","messages":[],"\\u006dodel":"faq"}',
        b'{"model":"faq","messages":[],"model":"other"}',
        b'{"model":"faq","messages":[],"mod\\u0065l":"other"}',
        b'{"model":"faq","messages":[],"model":"other","model":"faq"}',
        b'{"model":"faq","stream":false,"messages":[{"role":"user","content":"a"}],"stream":true,"n":1,"n":2}',
    ],
)
def test_the_model_that_is_authorised_is_the_one_that_is_asked_for(house: Front, body: bytes) -> None:
    """Of a name that comes twice the engine takes the one by which the gateway decided."""
    (answer,) = house.says(request(b"POST", CHAT.encode(), key=house.key, body=body))
    heard = list(house.engine.requests)
    assert json.loads(body)["model"] == ("faq" if heard else "other")
    for received in heard:
        for name in ("model", "n", "stream"):
            assert json.loads(received.body).get(name) == json.loads(body).get(name)
    assert answer[0] in (200, 400) if heard else answer[0] == 404
    house.heard()


BOMB = b"0" * 50_000_000
PACKED = {
    "gzip": gzip.compress(BODY[:-1] + b',"x":"' + BOMB + b'"}', 9),
    "deflate": zlib.compress(BODY[:-1] + b',"x":"' + BOMB + b'"}', 9),
    "zstd": b"\x28\xb5\x2f\xfd\xa4" + bytes(4000),
    "br": bytes(4000),
}


@pytest.mark.parametrize("coding", PACKED)
def test_what_is_packed_is_not_unpacked(house: Front, coding: str) -> None:
    headers = {"authorization": f"Bearer {house.key}", "content-encoding": coding, "content-type": "application/json"}
    tracemalloc.start()
    try:
        answer = house.ask("POST", CHAT, PACKED[coding], headers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (answer.status, house.heard()) == (400, [])
    assert peak < 2_000_000


@pytest.mark.parametrize(
    "odd",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'"' + b"\\u0000" * 50_000 + b'"',
    ],
)
def test_depth_ends_nothing(house: Front, odd: bytes) -> None:
    for field in (b"messages", b"x", b"stream_options", b"vllm_xargs", b"max_tokens", b"model", b"stream"):
        body = b'{"model":"faq","stream":true,"%b":%b}' % (field, odd)
        (answer,) = house.says(request(b"POST", CHAT.encode(), key=house.key, body=body))
        assert answer[0] in (400, 404) or house.engine.requests
        house.heard()
    assert house.chat().status == 200
    house.heard()


def test_a_body_is_counted_and_not_believed(house: Front) -> None:
    limit = house.gateway.app.state.serving.limits.max_body_bytes

    async def send() -> tuple[raw.Answer, int]:
        async with raw.connect(house.gateway.url) as client:
            client.writer.write(POST + b"authorization: Bearer " + house.key.encode())
            client.writer.write(b"\r\ntransfer-encoding: chunked\r\n\r\n")
            piece, sent = b"%x\r\n%b\r\n" % (65_536, bytes(65_536)), 0
            while sent <= limit:
                client.writer.write(piece)
                await client.writer.drain()
                sent += 65_536
            return await client.answer(), sent

    answer, _ = house.run(send())
    assert (answer.status, answer.header("connection"), house.heard()) == (413, "close", [])


@pytest.mark.parametrize("number", [b"9" * 5000, b"-" + b"9" * 5000, b"1e99999", b"0." + b"1" * 5000, b"-0"])
def test_a_huge_number_ends_nothing(house: Front, number: bytes) -> None:
    for field in (b"max_tokens", b"n", b"top_logprobs", b"priority", b"stream"):
        body = BODY[:-1] + b',"%b":%b}' % (field, number)
        (answer,) = house.says(request(b"POST", CHAT.encode(), key=house.key, body=body))
        assert answer[0] == 400 or number == b"-0"
    house.heard()
    assert house.chat().status == 200
    house.heard()
