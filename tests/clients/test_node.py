"""The official clients for Node. Their lock says what is installed on first use, beside the scripts."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.clients.house import LIMIT, STRANGER, WORDS, house
from tests.engine.simulator import Fault
from tests.gateway.calls import ANSWER, sound

FOLDER = Path(__file__).parent / "node"
PIECES = ["one", " two", " three", " four"]
TRIP = "".join(ANSWER)


def absent(reason: str) -> NoReturn:
    """Without them there is nothing to test; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node() -> str:
    """Node, its packages installed."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        absent("node and npm are not on the PATH: the clients for Node were not tried")
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules/.installed"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            absent(f"npm could not install the clients for Node: {done.stderr.strip()[-300:]}")
        installed.write_bytes(lock.read_bytes())
    return found


async def run(node: str, script: str, folder: Path) -> dict[str, Any]:
    """What a script prints, in front of an engine that refuses and dies where a body says so."""
    async with house(folder) as at:
        strikes = [
            Fault("refuse", match="retried"),
            Fault("refuse", match="overloaded"),
            Fault("close", match="broken", after=3),
        ]
        at.engine.faults.extend(strikes)
        process = await asyncio.create_subprocess_exec(
            node,
            script,
            cwd=FOLDER,
            env={
                "PATH": os.environ["PATH"],
                "BASE_URL": at.gateway.url,
                "KEY": at.key,
                "NARROW": at.narrow,
                "STRANGER": STRANGER,
                "LIMIT": str(LIMIT),
                "SOUND": base64.b64encode(sound()).decode(),
            },
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert at.engine.faults == []
        assert at.gateway.in_flight() == [0, 0, 0]
        told: dict[str, Any] = json.loads(out)
        return told


async def test_openai(node: str, tmp_path: Path) -> None:
    assert await run(node, "openai.mjs", tmp_path) == {
        "chat": WORDS,
        "several": [WORDS] * 3,
        "logprobs": PIECES,
        "stream": ["", *PIECES],
        "usage": 4,
        "tools": [["weather", TRIP]],
        "tools_stream": [["weather", TRIP]],
        "structured": json.loads(TRIP),
        "completion": ["a b", "a b", "c", "c"],
        "completion_stream": PIECES,
        "response": WORDS,
        "response_tool": ["function_call", "weather", TRIP],
        "response_stream": [PIECES, 4],
        "embeddings": [True, 8, 3],
        "transcription": TRIP,
        "translation": TRIP,
        "transcription_stream": ANSWER,
        "models": ["ears", "faq", "vectors"],
        "model": "faq",
        "too_long": ["BadRequestError", 400, "context_length_exceeded"],
        "refused": ["BadRequestError", 400, "invalid_request"],
        "unknown": ["NotFoundError", 404, "model_not_found"],
        "stranger": ["AuthenticationError", 401, "invalid_api_key"],
        "forbidden": ["PermissionDeniedError", 403, "permission_denied"],
        "retried": WORDS,
        "overloaded": ["InternalServerError", 503, "upstream_overloaded"],
        "broken": ["APIError", None, "upstream_failed"],
    }


async def test_anthropic(node: str, tmp_path: Path) -> None:
    use = ["tool_use", ["tool_use", "weather", json.loads(TRIP)]]
    assert await run(node, "anthropic.mjs", tmp_path) == {
        "message": [WORDS, "end_turn", 6, 4],
        "cut": "max_tokens",
        "tool": use,
        "stream": [PIECES, "end_turn", 4],
        "tool_stream": use,
        "counted": 4,
        "models": ["ears", "faq", "vectors"],
        "bearer": WORDS,
        "too_long": ["BadRequestError", 400, "invalid_request_error"],
        "refused": ["BadRequestError", 400, "invalid_request_error"],
        "unknown": ["NotFoundError", 404, "not_found_error"],
        "stranger": ["AuthenticationError", 401, "authentication_error"],
        "forbidden": ["PermissionDeniedError", 403, "permission_error"],
        "retried": WORDS,
        "overloaded": ["ServiceUnavailableError", 503, "overloaded_error"],
        "broken": ["APIError", None, "api_error"],
    }
