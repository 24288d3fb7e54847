"""The programs in C: the engine speaks vLLM's bytes, and the load generator notices what is wrong with an answer."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks import install
from tests.engine import recordings
from tests.engine.recordings import settled

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

_SHAPE = re.compile(
    rb'"(prompt_tokens|total_tokens|completion_tokens|max_tokens)":\d+|"content":"[^"]*"|"finish_reason":"\w+"'
)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("programs")
    return {name: install.compiled(name, folder) for name in ("engine", "load")}


@pytest.fixture(scope="module")
def port(programs: dict[str, Path]) -> Iterator[int]:
    command = [str(programs["engine"]), "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        ports = json.loads(engine.stdout.readline())["ports"]
        assert len(ports) == 2
        yield ports[0]
        engine.communicate(timeout=30)  # the end of its input is its own
    assert engine.returncode == 0


def _exchange(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, list[tuple[str, str]], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()


def _load(programs: dict[str, Path], port: int, *arguments: str) -> dict[str, Any]:
    command = [str(programs["load"]), "-p", str(port), "-d", "0.2", "-g", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _shape(body: bytes) -> bytes:
    """What is left of an answer when its text, its counts and its names are taken out."""
    body = settled(body).replace(b'"model":"tiny"', b'"model":"bench"')
    return _SHAPE.sub(lambda match: match[0].split(b":")[0], body)


@pytest.mark.parametrize("name", ["chat", "chat_stream_no_usage", "chat_stream_usage", "chat_stream_continuous_usage"])
def test_the_engine_answers_in_the_bytes_of_the_recordings(port: int, name: str) -> None:
    recording = recordings.load(name)
    tokens = json.loads(recording.sent)["max_tokens"]
    _exchange(port, "GET", f"/_engine?gap=0&chunks={tokens}")
    status, headers, body = _exchange(port, "POST", "/v1/chat/completions", recording.sent)
    assert status == recording.status
    assert _shape(body) == _shape(recording.body)
    assert [header.lower() for header, _ in headers] == [header for header, _ in recording.headers]
    assert dict(headers)["content-type"] == dict(recording.headers)["content-type"]


@pytest.mark.parametrize("options", ["", ',"stream_options":{"continuous_usage_stats":true}'])
def test_without_include_usage_no_count_is_sent(port: int, options: str) -> None:
    _, _, body = _exchange(port, "POST", "/v1/chat/completions", f'{{"stream":true{options}}}'.encode())
    assert b"usage" not in body
    assert body.endswith(b"data: [DONE]\n\n")


def test_whole_answers_are_counted_and_checked(programs: dict[str, Path], port: int) -> None:
    before = json.loads(_exchange(port, "GET", "/_engine?gap=0&chunks=5")[2])
    result = _load(programs, port, "-c", "4", "-k", "5", "-b", str(before["answer_bytes"]))
    after = json.loads(_exchange(port, "GET", "/_engine")[2])
    assert result["good"] == result["started"] == after["answers"] - before["answers"] > 0
    assert result["words"] == 5 * result["good"]
    latency = result["latency_us"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["most"] <= 1.2e6
    assert latency["count"] <= result["good"]


def test_streams_are_counted_and_timed(programs: dict[str, Path], port: int) -> None:
    before = json.loads(_exchange(port, "GET", "/_engine?gap=5000&chunks=5")[2])
    result = _load(programs, port, "-s", "-c", "3", "-n", "6", "-k", "5")
    after = json.loads(_exchange(port, "GET", "/_engine")[2])
    assert result["good"] == result["started"] == after["streams"] - before["streams"] == 6
    assert result["words"] == 30
    assert result["latency_us"]["p50"] >= 20_000 > result["first_word_us"]["p50"]
    assert after["open_streams"] == 0


def test_requests_are_bounded_by_count(programs: dict[str, Path], port: int) -> None:
    _exchange(port, "GET", "/_engine?gap=0&chunks=5")
    assert _load(programs, port, "-c", "2", "-n", "10", "-k", "5")["started"] == 10


def test_a_stream_that_does_not_end_is_unfinished(programs: dict[str, Path], port: int) -> None:
    _exchange(port, "GET", "/_engine?gap=60000000&chunks=5")
    result = _load(programs, port, "-s", "-c", "2", "-k", "5", "-g", "0.1")
    assert (result["good"], result["unfinished"], result["words"]) == (0, 2, 2)


EVENT = b'data: {"choices":[{"delta":{"content":" word"}}]}\n\n'
COUNTED = b'data: {"choices":[{"delta":{"content":" word"}}],"usage":{"completion_tokens":1}}\n\n'
END = b"data: [DONE]\n\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = b'{"content":" word word","usage":{"completion_tokens":2}}'


def _chunked(*pieces: bytes) -> bytes:
    return STREAM + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def _sized(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.fixture
def parrot() -> Iterator[Any]:
    """Answers every request with the same bytes, and then closes when it is told to."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(answer: bytes) -> int:
        def talk() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(answer)

        threading.Thread(target=talk, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield serve
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize(
    ("answer", "streaming", "kind"),
    [
        (_chunked(EVENT, EVENT, END), True, None),
        (_chunked(EVENT + EVENT[:9], EVENT[9:] + END), True, None),
        (_chunked(EVENT, END), True, "words"),
        (_chunked(EVENT, EVENT, EVENT, END), True, "words"),
        (_chunked(EVENT, EVENT), True, "done"),
        (_chunked(EVENT, COUNTED, END), True, "usage"),
        (_chunked(EVENT, EVENT, END)[:-5], True, "cut"),
        (STREAM, True, "cut"),
        (b"", True, "cut"),
        (_sized(b"{}", b"500 Internal Server Error"), True, "status"),
        (_sized(WHOLE), False, None),
        (_sized(WHOLE + b" "), False, "length"),
        (_sized(WHOLE)[:-1], False, "cut"),
        (_sized(WHOLE.replace(b"completion", b"other")), False, "usage"),
        (_sized(WHOLE.replace(b" word word", b" word")), False, "words"),
        (_sized(WHOLE, b"503 Service Unavailable"), False, "status"),
    ],
)
def test_the_load_generator_judges_every_answer(
    programs: dict[str, Path], parrot: Any, answer: bytes, streaming: bool, kind: str | None
) -> None:
    flags = ["-s"] if streaming else ["-b", str(len(WHOLE))]
    result = _load(programs, parrot(answer), "-n", "1", "-k", "2", *flags)
    assert {name: count for name, count in result["failed"].items() if count} == ({kind: 1} if kind else {})
    assert result["good"] == (kind is None)
    assert result["unfinished"] == 0
    assert bool(result["example"]) == (kind is not None)


def test_nobody_there_is_refused(programs: dict[str, Path]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        result = _load(programs, probe.getsockname()[1], "-n", "1", "-k", "2")
    assert result["failed"]["refused"] == 1


def test_without_a_compiler_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(install.Missing, match="'cc' is not here: it needs a C compiler"):
        install.compiled("load", tmp_path)
