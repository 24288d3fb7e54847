"""A tiny endpoint for commands, which own their event loop: a thread with the standard library's server."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

Reply = Callable[[dict], tuple[int, dict]]


def completion(text: str) -> tuple[int, dict]:
    """A good answer."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return 200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


def _handler(reply: Reply, release: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200, {"data": []})

        def do_POST(self) -> None:
            self.answer(*reply(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def answer(self, status: int, body: dict) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if release:
                self.send_header("x-tollgate-release", release)
                self.send_header("x-tollgate-digest", "sha256:" + hashlib.sha256(release.encode()).hexdigest())
                self.send_header("x-tollgate-cost", "0.01")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """`serve(reply, release="faq@2")` answers chat completions and returns the base URL."""
    with ExitStack() as stack:

        def start(reply: Reply, *, release: str | None = "faq@2") -> str:
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _handler(reply, release)))
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/v1"

        yield start


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Thirty samples whose answer is the number in the question."""
    path = tmp_path / "questions.jsonl"
    lines = [{"id": f"q{i}", "input": f"number {i}", "reference": str(i), "tags": ["n"]} for i in range(30)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def parrot() -> Reply:
    """Always right about `questions`."""
    return lambda body: completion(body["messages"][-1]["content"].split()[-1])
