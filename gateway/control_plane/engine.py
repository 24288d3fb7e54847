"""Start a vLLM of one's own, wait until it answers, stop it.

vLLM runs as a process of its own, usually in an environment of its own, since it pins much of what it needs.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from gateway.contracts.errors import InputError

QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
"""vLLM reports its use to its makers unless told otherwise."""
GUARDED = {"VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}
"""An image's URL leads where it says, and not from there to an address inside; an operator may set it otherwise."""


_direct = build_opener(ProxyHandler({}))  # no proxy of the environment has a part in loopback


@dataclass(frozen=True)
class Engine:
    """A running vLLM process."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def healthy(self) -> bool:
        """Whether /health answers 200."""
        try:
            with _direct.open(f"{self.url}/health", timeout=2.0) as response:
                return bool(response.status == 200)
        except (OSError, HTTPException):
            return False

    def wait_ready(self, seconds: float, progress: Callable[[float], None] = lambda _: None) -> None:
        """Wait until the engine answers. Raises InputError when it dies or takes longer than `seconds`."""
        started = time.monotonic()
        while not self.healthy():
            waited = time.monotonic() - started
            if self.process.poll() is not None:
                code = self.process.returncode
                raise InputError(f"vLLM ended with exit code {code} before it was ready:\n{self.tail()}")
            if waited > seconds:
                raise InputError(
                    f"vLLM was not ready after {seconds:g} s; its log is {str(self.log)!r}:\n{self.tail()}"
                )
            progress(waited)
            time.sleep(0.25)

    def tail(self, lines: int = 15) -> str:
        """The end of the engine's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, seconds: float = 15.0) -> None:
        """Ask the engine to end, and end it and its workers when it does not."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        # Workers that outlive the server still hold its memory; the group is theirs alone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start(
    python: Path, model: str, *, port: int, log: Path, flags: Sequence[str] = (), env: dict[str, str] | None = None
) -> Engine:
    """Start vLLM's server on loopback with the given interpreter. Raises InputError when it has no vLLM."""
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", model, "--host", "127.0.0.1", "--port", str(port), *flags]
    probe = [str(python), "-c", "import importlib.util as u; print(u.find_spec('vllm'))"]
    try:
        found = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 (trusted)
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"{str(python)!r} cannot be run: {error}") from error
    if found.stdout.strip() == "None":
        raise InputError(f"{str(python)!r} has no vllm: install it there, or name another interpreter with one")
    environment = {**GUARDED, **os.environ, **QUIET, **(env or {})}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 (an operator's choice)
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    return Engine(process, f"http://127.0.0.1:{port}", log)
