"""One of several processes behind a socket: `python -m gateway.cli.worker DESCRIPTOR DRAIN GRACE IDLE`, in seconds.

Started by `gateway serve --workers N` alone. What it serves comes over standard input, as `control_plane.workers` says.
"""

import asyncio
import os
import signal
import socket
import sys

from gateway.app import build
from gateway.cli import serving
from gateway.contracts.errors import TollgateError
from gateway.control_plane.workers import READY, SLOT, decode
from gateway.stores.bundle import open_stores

LINE_BYTES = 64 * 1024 * 1024


def main(descriptor: int, times: serving.Times) -> None:
    """Serve on an inherited socket until a signal, or until the parent is gone."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent reads the configuration
    try:
        serving.run(_work(socket.socket(fileno=descriptor), times))
    except TollgateError as error:
        sys.exit(f"Error: {error}")


async def _work(listener: socket.socket, times: serving.Times) -> None:
    parent = asyncio.StreamReader(limit=LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(parent), sys.stdin)
    deployment = decode(await parent.readline())
    assert deployment is not None
    stores = open_stores(deployment.config.database, deployment.config.ledger.spool)
    app = build(deployment, stores, closes=os.environ.get(SLOT) == "0")

    async def beside() -> None:
        try:
            os.write(sys.stdout.fileno(), READY)
        except BrokenPipeError:
            return  # the parent is gone already, and nobody else would ever end this process
        while line := await parent.readline():
            await app.current.reload(decode(line))

    await serving.serve(app, listener, times=times, beside=beside)


if __name__ == "__main__":
    main(int(sys.argv[1]), serving.Times(*map(float, sys.argv[2:])))
