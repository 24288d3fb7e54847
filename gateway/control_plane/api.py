"""The control plane's pages: health, readiness, metrics, the model list, a key's own usage.

A path of nobody's is a 404 in the shape of the API that it looks like.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.contracts.envelopes import Dialect, dialect_of, envelope
from gateway.contracts.errors import InternalError, MethodNotAllowed, ModelNotFound, RequestError, RouteNotFound
from gateway.control_plane.usage import Wanted, answer, wanted
from gateway.policy.auth import Principal, authenticate
from gateway.policy.resolution import Snapshot, shown
from gateway.stores.costs import Costs
from gateway.telemetry import Telemetry

log = logging.getLogger("tollgate")

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Pages:
    """The handlers. `ready` says why the gateway is not ready, or None.

    Usage is read for one client after the other (`reading`): whoever asks for much of it keeps no thread from others.
    """

    snapshot: Callable[[], Snapshot]
    telemetry: Telemetry
    clock: Callable[[], float]
    ready: Callable[[], Awaitable[str | None]]
    digest: Callable[[], str]
    costs: Costs
    reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    counting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    async def health(self) -> dict[str, str]:
        """The process lives, and serves by the configuration that `gateway check` gives this digest."""
        return {"status": "ok", "version": __version__, "config_digest": self.digest()}

    async def readiness(self, response: Response) -> dict[str, str]:
        """Every pool has a replica that answers; 503 with the reason otherwise."""
        reason = await self.ready()
        if reason is None:
            return {"status": "ready"}
        response.status_code = 503
        return {"status": "not ready", "reason": reason}

    async def metrics(self) -> Response:
        """Prometheus's text format. Thousands of series are written in a thread, for one client after the other."""
        async with self.counting:
            self.telemetry.hand_over()
            return Response(await asyncio.to_thread(self.telemetry.page), media_type=METRICS_TYPE)

    async def models(self, request: Request) -> dict[str, Any]:
        """What the key may ask for."""
        return {"object": "list", "data": self._cards(request)}

    async def model(self, name: str, request: Request) -> dict[str, Any]:
        """One of them."""
        for card in self._cards(request):
            if card["id"] == name:
                return card
        raise ModelNotFound(f"no model {shown(name)} for this key: GET /v1/models lists them", param="model")

    async def usage(self, request: Request) -> dict[str, Any]:
        """What the key has used."""
        key_id = self._principal(request).key_id
        asked = wanted(request.query_params.multi_items(), self.clock())
        async with self.reading:
            return await asyncio.to_thread(self._usage, key_id, asked)

    def _usage(self, key_id: str, asked: Wanted) -> dict[str, Any]:
        own = {"key": key_id}
        try:
            lines = self.costs.lines(asked.by, asked.since, asked.until, own)
            (total,) = self.costs.lines((), asked.since, asked.until, own)
        except SQLAlchemyError as error:
            log.error("usage cannot be read: %s", error)
            raise InternalError("usage cannot be read now: ask again later") from error
        return answer(key_id, asked, lines, total)

    def _principal(self, request: Request) -> Principal:
        told = (request.headers.get(name) for name in ("authorization", "x-api-key"))
        authorization, api_key = (None if header is None else header.encode("latin-1") for header in told)
        return authenticate(authorization, api_key, self.snapshot().keys, self.clock())

    def _cards(self, request: Request) -> list[dict[str, Any]]:
        """The models that a key may use, and for the harness the releases too."""
        snapshot, principal = self.snapshot(), self._principal(request)
        names = {model: snapshot.releases[release] for model, release in snapshot.live.items()}
        if principal.scope == "evaluate":
            names |= snapshot.releases
        return [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "tollgate",
                "release": release.name,
                "release_digest": release.digest,
            }
            for name, release in sorted(names.items())
            if principal.may_use(release.model)
        ]


def build_api(pages: Pages, running: Callable[[], AbstractAsyncContextManager[None]]) -> FastAPI:
    """The FastAPI application; `running` holds the gateway's loops while it serves."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with running():
            yield

    api = FastAPI(
        title="Tollgate",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    api.add_api_route("/health", pages.health)
    api.add_api_route("/ready", pages.readiness)
    api.add_api_route("/metrics", pages.metrics)
    api.add_api_route("/v1/models", pages.models)
    api.add_api_route("/v1/models/{name:path}", pages.model)
    api.add_api_route("/v1/usage", pages.usage)
    api.add_exception_handler(HTTPException, _not_here)
    api.add_exception_handler(RequestError, _refused)
    return api


async def _not_here(request: Request, error: Exception) -> Response:
    """What the router refused. The path is the one that it looked at: `request.url` is made of the Host header too."""
    path = request.scope["path"]
    if isinstance(error, HTTPException) and error.status_code == MethodNotAllowed.status:
        told = _envelope(MethodNotAllowed(f"{path} does not take {request.method}"), _dialect(request))
        told.headers.update(error.headers or {})  # it names the methods that the path takes
        return told
    missing = RouteNotFound(f"no such path {path!r}; the gateway's endpoints are under /v1")
    return _envelope(missing, _dialect(request))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _envelope(error, _dialect(request))


def _dialect(request: Request) -> Dialect:
    """The path's, and on a path of both APIs Anthropic's for its clients: they send its version with every request."""
    return "anthropic" if "anthropic-version" in request.headers else dialect_of(request.scope["path"])


def _envelope(error: RequestError, dialect: Dialect) -> Response:
    return Response(envelope(error, dialect), status_code=error.status, media_type="application/json")
