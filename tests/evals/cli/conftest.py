"""A tiny endpoint for commands, which own their event loop: a thread with the standard library's server."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evals.cli import main

Reply = Callable[[dict], tuple[int, dict]]


def completion(text: str) -> tuple[int, dict]:
    """A good answer."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return 200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


AS_ASKED = "the model that was asked for"


def _handler(reply: Reply, release: str | None, cost: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200, {"data": []}, release)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(*reply(asked), asked["model"] if release == AS_ASKED else release)

        def answer(self, status: int, body: dict, release: str | None) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if release:
                self.send_header("x-tollgate-release", release)
                self.send_header("x-tollgate-digest", "sha256:" + hashlib.sha256(release.encode()).hexdigest())
                if cost:
                    self.send_header("x-tollgate-cost", cost)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """`serve(reply, release="faq@2")` answers chat completions and returns the base URL.

    The release `AS_ASKED` is that of the model in each request; `cost` is each answer's.
    """
    with ExitStack() as stack:

        def start(reply: Reply, *, release: str | None = "faq@2", cost: str | None = "0.01") -> str:
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _handler(reply, release, cost)))
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


@pytest.fixture
def evals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`evals("data", "lint", "d.jsonl")` in a folder of its own; an unexpected exception is raised."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOLLGATE_API_KEY", raising=False)

    def run(*args: object) -> Result:
        result = CliRunner().invoke(main, list(map(str, args)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
