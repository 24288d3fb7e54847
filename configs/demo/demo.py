"""The whole loop on one machine: serve a real model on vLLM, evaluate it, gate a release.

Run by `make demo`. Everything that it makes lies in .demo/; the environments are .venv and .vllm.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

# Run as a script: the other parts of the demo lie beside this file.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import fleet
import gates
import running
from chat import chat
from show import done, fail, note, step

from gateway.contracts.errors import TollgateError

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run every step, and leave nothing running unless asked to."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave engines and gateway running (make demo KEEP=1)")
    parser.add_argument("--engine-url", help="take a running engine (make demo ENGINE_URL=http://127.0.0.1:8000)")
    parser.add_argument("--port", type=int, default=8080, help="where the gateway listens (make demo PORT=8081)")
    options = parser.parse_args()
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the way out that stops engines and gateway
    try:
        with ExitStack() as stack:
            run(options, stack)
            if options.keep:
                stack.pop_all()
    except (TollgateError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted")


def run(options: argparse.Namespace, stack: ExitStack) -> None:
    """The steps, top to bottom."""
    started = time.monotonic()
    if options.engine_url is None:
        plan = fleet.on_this_machine(options.port)
    else:
        plan = running.on(options.engine_url.rstrip("/"), options.port)
    step("1. install vLLM, unpack the models")
    plan.prepare()
    step("2. start the engines, and the gateway in front of them")
    plan.start(stack)
    keys = plan.keys()
    plan.wait()
    step("3. the first release: evaluate it, gate it, let it serve")
    gates.evaluate(plan, keys, "faq@1")
    gates.gate(plan, "faq@1", baseline=None, expected="pass")
    gates.wait_until_live(plan, keys, "faq@1")
    step("4. chat with it through the official openai client")
    chat(plan, keys)
    step("5. evaluate two candidates on the same samples")
    for candidate in ("faq@2", "faq@3"):
        note(plan.story[candidate])
        gates.evaluate(plan, keys, candidate)
    step("6. gate them against what is live")
    gates.gate(plan, "faq@2", baseline="faq@1", expected="pass")
    gates.gate(plan, "faq@3", baseline="faq@1", expected="fail")
    step("7. ask the gateway to serve each")
    gates.promote(plan, keys, "faq@2", served=True)
    gates.promote(plan, keys, "faq@3", served=False)
    step("8. what it cost")
    gates.ledger(plan)
    done(started, leftovers(plan, keys, keep=options.keep))


def leftovers(plan: fleet.Plan, keys: fleet.Keys, *, keep: bool) -> Sequence[str]:
    """What a person may want to know at the end."""
    files = f"verdicts, reports and run logs are in {plan.verdicts.parent}/ (try: less {plan.verdicts}/faq@3.md)"
    if not keep:
        return [files, "nothing is left running; `make demo KEEP=1` leaves it up"]
    return [
        files,
        f"the gateway answers on {plan.url}/v1 with the key {keys.serve}",
        f"to end it all: kill {' '.join(map(str, plan.pids))}",
    ]


if __name__ == "__main__":
    main()
