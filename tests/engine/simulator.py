"""A vLLM server without a model: vLLM's wire format to the byte, deterministic answers, faults on command.

    async with Engine(model="faq") as engine:
        engine.faults.append(Fault("close", after=2))
        ...  # talk to engine.url
        await engine.wait_for(lambda e: e.running == 0)
        assert engine.received("/v1/chat/completions")[0].json["model"] == "faq"

From a shell: `python tests/engine/simulator.py --port 9001 --model faq`; then `POST /_fault` with
`{"kind": "refuse", "times": 3}` (or a list) adds faults and `DELETE /_fault` clears them.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

# Run as a script, Python looks for `tests` beside this file.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.engine.connection import Received
from tests.engine.core import words
from tests.engine.endpoints import ANY
from tests.engine.faults import KINDS, Fault
from tests.engine.server import Engine, count_words, echo

__all__ = ["KINDS", "Engine", "Fault", "Received", "count_words", "echo", "words"]


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A vLLM server without a model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--model", default="faq", help="served name, or several separated by commas")
    parser.add_argument("--runner", choices=["generate", "pooling"], default="generate")
    parser.add_argument("--task", choices=ANY, default=None, help="what kind of model it is")
    parser.add_argument("--loras", default="", help="names of adapters, separated by commas")
    parser.add_argument("--max-model-len", type=int, default=4096)
    parser.add_argument("--prefill-s-per-token", type=float, default=0.0)
    parser.add_argument("--step-s", type=float, default=0.0)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--max-num-queued-reqs", type=int, default=None)
    parser.add_argument("--prompt-tokens-details", action="store_true")
    parser.add_argument("--keep-alive-s", type=float, default=None)
    parser.add_argument("--api-key", default=None, help="what guards its paths under /v1")
    parser.add_argument("--dev-mode", action="store_true", help="/sleep, /wake_up and /is_sleeping")
    options: dict[str, Any] = vars(parser.parse_args(arguments))

    async def serve() -> None:
        async with Engine(**options) as engine:
            print(f"serving {', '.join(engine.names)} on {engine.url}", flush=True)
            await asyncio.Event().wait()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
