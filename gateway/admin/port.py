"""The admin API on its own port: a server of its own, in the process that reads the configuration.

That is the gateway itself, or the parent of its workers, which serves no client: what operators do takes nothing from
requests, and no worker's death ends it.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.admin import certificates
from gateway.admin.api import build
from gateway.admin.guard import App
from gateway.admin.house import House
from gateway.admin.tokens import Tokens
from gateway.server.protocol import HttpProtocol
from gateway.settings.admin import AdminConfig

MOST_REQUESTS = 64
"""At once."""
ENDING_S = 5
"""What a request gets when the gateway ends."""

log = logging.getLogger("tollgate")


class Server(uvicorn.Server):
    """uvicorn beside another server of this process, which hears the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves them to the other one."""
        yield


class Door:
    """Tokens that are good, a socket that is bound: what can be wrong is wrong before the gateway serves.

    Raises InputError for a token or a certificate that cannot be used.
    """

    def __init__(self, config: AdminConfig, listener: socket.socket) -> None:
        self.tokens = Tokens(config.tokens)
        self._config, self._listener = config, listener
        self._tls = None if config.tls is None else certificates.followed(config.tls)

    @property
    def address(self) -> str:
        """Where it answers."""
        host, port = self._listener.getsockname()[:2]
        scheme = "http" if self._config.tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def greeting(self) -> str:
        """A line for whoever starts the gateway."""
        named = ", ".join(f"{each.name} ({each.role})" for each in self.tokens.operators)
        return f"\n  admin API on {self.address}/v1; tokens: {named}"

    @asynccontextmanager
    async def open(self, house: House, count: Callable[[str], None]) -> AsyncIterator[None]:
        """Answer while inside."""
        if self._config.in_the_clear:
            log.warning(
                "admin: %s is no address of this machine alone, and has no TLS: tokens cross the network as plain "
                "text; name a certificate under `admin.tls`, or listen on 127.0.0.1",
                self._config.listen.host,
            )
        server = Server(self._settings(build(house, self.tokens, count)))
        serving = asyncio.create_task(server.serve(sockets=[self._listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await serving

    def _settings(self, app: App) -> uvicorn.Config:
        tls = self._tls
        return uvicorn.Config(
            app,
            http=HttpProtocol,
            lifespan="off",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_REQUESTS,
            timeout_graceful_shutdown=ENDING_S,
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )


def workers_page(folder: Path) -> CollectorRegistry:
    """The metrics of all workers that share a folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return registry
