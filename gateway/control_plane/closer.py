"""The books are closed in a process of their own: Python runs one thread at a time, and requests come first.

The gateway looks whether an hour is due, and only then starts `python -m gateway.control_plane.closer`, which reads
what to do from standard input, closes one replica's hour after the other, each in a transaction, and ends. It is nice
to others, has a session of its own, so that Ctrl-C reaches it through the gateway alone, and is ended when the gateway
stops. Where the gateway died it ends after the hour that it is at. Of several workers one does this; several gateways
over one database may do the same work, and it is written once (see `costs.closing`).
"""

import asyncio
import contextlib
import gc
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy.exc import SQLAlchemyError

from gateway.contracts.errors import InputError, TollgateError
from gateway.costs.closing import SETTLE_S, closing, due
from gateway.costs.fleet import Engine
from gateway.stores.bundle import Stores, open_stores

MODULE = "gateway.control_plane.closer"
NICE = 10
NEW_OBJECTS = 1_000_000
"""An hour's rows make no circles: looking for some after every few hundred would take a third of the time."""


@dataclass(frozen=True)
class Job:
    """What is to be closed: the hours of `database` that are due at `now`, for the process `gateway`."""

    database: str
    now: float
    engines: dict[str, Engine]
    settle_s: float
    gateway: int


JOB = TypeAdapter(Job)


async def close_hours(stores: Stores, now: float, engines: Mapping[str, Engine], settle_s: float = SETTLE_S) -> None:
    """Close the hours that are due at `now` (seconds since the epoch), if any are.

    Raises InputError with what the process said when it failed: it is tried again. Cancelled, it ends the process.
    """
    if not await asyncio.to_thread(due, stores, now, settle_s):
        return
    unpriced = {name: each._replace(price=None) for name, each in engines.items()}  # rentals have the prices
    job = JOB.dump_json(Job(stores.url, now, unpriced, settle_s, os.getpid()))
    # -P: nothing in the working directory takes a module's place.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", MODULE, stdin=PIPE, stdout=DEVNULL, stderr=PIPE, start_new_session=True
    )
    try:
        _, said = await process.communicate(job)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
    if process.returncode:
        told = said.decode(errors="replace").strip() or "it said nothing"
        raise InputError(f"closing the books of past hours ended with exit code {process.returncode}: {told}")


def main() -> None:
    """The process: close what it is told to on standard input, as long as whoever told it lives."""
    os.nice(NICE)
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 20, 20)
    job = JOB.validate_json(sys.stdin.buffer.read())
    try:
        for _ in closing(open_stores(job.database), job.now, job.engines, job.settle_s):
            if os.getppid() != job.gateway:
                break
    except (SQLAlchemyError, TollgateError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
