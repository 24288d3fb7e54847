"""What a gateway of these tests runs: its own command, that can be asked how many tasks it has.

On SIGUSR1 it writes the number of tasks that are not done into `tasks` of its folder.
"""

import asyncio
import signal
from pathlib import Path

import uvloop

from gateway.cli import main as command

FILE = "tasks"


def main() -> None:
    """The command, with its event loop known."""
    loops: list[uvloop.Loop] = []
    new = uvloop.new_event_loop

    def remembered() -> uvloop.Loop:
        loops.append(new())
        return loops[-1]

    def tell(*_: object) -> None:
        count = sum(len(asyncio.all_tasks(loop)) for loop in loops)
        written = Path(f"{FILE}.new")
        written.write_text(str(count))
        written.replace(FILE)

    uvloop.new_event_loop = remembered
    signal.signal(signal.SIGUSR1, tell)
    command()
