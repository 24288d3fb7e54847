"""Starting, awaiting and stopping a vLLM, with a script in place of its interpreter."""

import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.contracts.errors import InputError
from gateway.control_plane.engine import Engine, start

SCRIPT = """#!{python}
import http.server, os, signal, subprocess, sys
if sys.argv[1] == "-c":
    print({found!r})
    sys.exit()
print("arguments", *sys.argv[1:], flush=True)
print("quiet", os.environ["VLLM_NO_USAGE_STATS"], os.environ["DO_NOT_TRACK"], os.environ.get("EXTRA"), flush=True)
print("redirects", os.environ["VLLM_MEDIA_URL_ALLOW_REDIRECTS"], flush=True)
{first}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


class House:
    """A folder with interpreters, and the engines that they ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Engine] = []

    def python(self, first: str = "", found: str = "ModuleSpec(name='vllm')") -> Path:
        path = self.folder / "python"
        path.write_text(SCRIPT.format(python=sys.executable, first=first, found=found))
        path.chmod(0o755)
        return path

    def start(self, first: str = "", **options: dict[str, str]) -> Engine:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        python, log = self.python(first), self.folder / "engine.log"
        self.started.append(start(python, "org/m", port=port, log=log, flags=["--max-model-len=9"], **options))
        return self.started[-1]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    for engine in made.started:
        engine.stop()


def test_an_engine_is_started_awaited_and_stopped(house: House) -> None:
    engine = house.start(env={"EXTRA": "more"})
    waited: list[float] = []
    engine.wait_ready(20.0, waited.append)
    assert engine.healthy()
    assert waited == sorted(waited)
    port = engine.url.rpartition(":")[2]
    where = f"--model org/m --host 127.0.0.1 --port {port} --max-model-len=9"
    assert engine.tail().splitlines()[:3] == [
        f"arguments -m vllm.entrypoints.openai.api_server {where}",
        "quiet 1 1 more",
        "redirects 0",
    ]
    engine.stop()
    assert engine.process.poll() is not None
    assert not engine.healthy()
    engine.stop()


def test_an_engine_that_dies_shows_the_end_of_its_log(house: House) -> None:
    lines = "; ".join(f"print('line {number}', flush=True)" for number in range(30))
    engine = house.start(f"{lines}; sys.exit(3)")
    with pytest.raises(InputError, match="exit code 3") as caught:
        engine.wait_ready(20.0)
    assert "line 29" in str(caught.value)
    assert "line 10\n" not in str(caught.value)
    assert engine.tail(1) == "line 29"


def test_an_engine_that_never_answers_is_given_up(house: House) -> None:
    engine = house.start("signal.pause()")
    with pytest.raises(InputError, match="not ready after 0 s") as caught:
        engine.wait_ready(0.0)
    assert str(engine.log) in str(caught.value)


def test_an_engine_that_ignores_the_question_is_ended(house: House) -> None:
    engine = house.start("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    engine.wait_ready(20.0)
    engine.stop(0.05)
    assert engine.process.poll() == -9


def test_workers_do_not_outlive_their_engine(house: House) -> None:
    fifo = house.folder / "worker"
    os.mkfifo(fifo)
    # The worker leaves SIGTERM alone; the pipe ends only with its life.
    worker = (
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); f = open({str(fifo)!r}, 'w'); signal.pause()"
    )
    engine = house.start(f"subprocess.Popen([{sys.executable!r}, '-c', {worker!r}])")
    with fifo.open("rb", buffering=0) as pipe:
        engine.wait_ready(20.0)
        engine.stop()
        assert select.select([pipe], [], [], 10.0)[0]
        assert pipe.read() == b""


def test_an_interpreter_without_vllm_is_told_so(house: House) -> None:
    python = house.python(found="None")
    with pytest.raises(InputError, match="has no vllm"):
        start(python, "m", port=1, log=house.folder / "log")


@pytest.mark.parametrize("content", [None, "", "#!/nothing\n", f"#!{sys.executable}\nraise SystemExit(1)\n"])
def test_what_is_no_interpreter_is_told_so(house: House, content: str | None) -> None:
    python = house.folder / "python"
    if content is not None:
        python.write_text(content)
        python.chmod(0o755)
    with pytest.raises(InputError, match="cannot be run"):
        start(python, "m", port=1, log=house.folder / "log")


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = house.start()
    engine.wait_ready(20.0)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    # urllib reads the environment once in a process.
    monkeypatch.setattr("urllib.request._opener", None)
    assert engine.healthy()


def test_something_else_on_the_port_is_not_healthy(house: House) -> None:
    engine = house.start("signal.pause()")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-something\r\n\r\n")

        other = Engine(engine.process, f"http://127.0.0.1:{listener.getsockname()[1]}", engine.log)
        thread = threading.Thread(target=answer)
        thread.start()
        assert not other.healthy()
        thread.join()
