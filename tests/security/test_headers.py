"""What ends up in a header, a row or a metric is text of one line, however a client writes it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Deployment
from tests.security.front import BODY, CHAT, HELLO, Front, front, request

CONTROL = [bytes([byte]) for byte in (*range(0x09), *range(0x0A, 0x20), 0x7F)]
NAMES = ("x-request-id", "x-tollgate-request-id", "x-project", "x-session-id", "x-region", "user-agent", "traceparent")
SET = {
    "date", "server", "content-type", "content-length", "x-tollgate-request-id", "x-tollgate-release",
    "x-tollgate-digest", "x-tollgate-replica", "x-tollgate-cost",
}  # fmt: skip
"""The headers of an answer: none of them repeats what a client wrote."""


def _tagged(made: Deployment) -> Deployment:
    return replace(made, config=made.config.model_copy(update={"tags": {"project": "x-project"}}))


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder: Path = tmp_path_factory.mktemp("tagged")
    with front(folder, _tagged) as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_a_control_character_in_a_header_is_refused(tagged: Front, name: str) -> None:
    for control in CONTROL:
        line = name.encode() + b": a" + control + b"x-injected: 1"
        (answer,) = tagged.says(request(b"POST", CHAT.encode(), line, key=tagged.key, body=BODY))
        # A line feed ends its line, with its carriage return or without: what follows is a header of the client's own.
        assert answer[0] == 400
        assert b"x-injected" not in answer[1]
    assert tagged.heard() == []


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


def test_no_text_of_a_client_begins_a_header_or_another_answer(tagged: Front) -> None:
    @given(
        TEXT, st.sampled_from(["\r\nx-injected: 1\r\n\r\n", "\n\nHTTP/1.1 200 OK\r\n\r\n", "\0", "\x1b[2J", " "]), TEXT
    )
    def check(before: str, odd: str, after: str) -> None:
        told = before + odd + after
        body = json.dumps({**HELLO, "model": told, "user": told, "metadata": {told: told}}).encode()
        plain = re.sub(rb"[\0-\x1f\x7f]", b"", told.encode())
        lines = [name.encode() + b": " + plain for name in NAMES if name != "x-project"]
        ((status, headers, _),) = tagged.says(request(b"POST", CHAT.encode(), *lines, key=tagged.key, body=body))
        assert status == 404
        known = json.dumps({**HELLO, "user": told}).encode()
        ((status, headers, _),) = tagged.says(request(b"POST", CHAT.encode(), *lines, key=tagged.key, body=known))
        assert status == 200
        assert {name.decode() for name in headers} - {"connection"} <= SET
        assert b"x-injected" not in b"".join(headers.values())
        (received,) = tagged.engine.received(CHAT)
        assert received.header("x-request-id") == headers[b"x-tollgate-request-id"].decode()
        assert received.head.count(b"\r\n") == 6  # its request line, four headers and the empty line
        tagged.heard()

    check()


def test_a_tag_is_printable_text_or_refused(tagged: Front) -> None:
    @given(st.binary(min_size=1, max_size=200).map(lambda made: re.sub(rb"[\0-\x1f\x7f]", b"", made).strip(b" ")))
    def check(told: bytes) -> None:
        line = b"x-project: " + told
        ((status, _, _),) = tagged.says(request(b"POST", CHAT.encode(), line, key=tagged.key, body=BODY))
        try:
            text = told.decode()
            good = not text or (len(text) <= 128 and text.isprintable())
        except UnicodeDecodeError:
            good = False
        assert status == (200 if good else 400)
        tagged.heard()

    check()


def test_no_text_of_a_client_is_a_label(tagged: Front) -> None:
    """The number of series does not grow with what clients write, and none of it is in the page."""

    def series() -> set[str]:
        page = tagged.ask("GET", "/metrics").body.decode()
        assert "zebra" not in page
        return {line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#")}

    def ask(number: int) -> None:
        told = f"zebra-{number}"
        headers = {**dict.fromkeys(NAMES, told), "x-session-id": told}
        assert tagged.chat(headers=headers, user=told).status == 200
        assert tagged.chat(model=told).status == 404
        assert tagged.chat(key=told).status == 401
        assert tagged.ask("POST", f"/v1/{told}", HELLO).status == 404
        assert tagged.ask(f"ZEBRA{number}", CHAT).status == 400

    ask(0)
    tagged.run(tagged.gateway.until(lambda: tagged.gateway.app.data_plane.spool.lag == 0))
    before = series()
    for number in range(1, 20):
        ask(number)
    tagged.run(tagged.gateway.until(lambda: tagged.gateway.app.data_plane.spool.lag == 0))
    assert series() == before
