"""vLLM's wire: the request that it gets, and what its errors mean to a client of OpenAI's API."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.config import PoolConfig
from gateway.contracts.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    RequestError,
    UpstreamFailed,
    UpstreamOverloaded,
)
from gateway.policy.endpoints import Endpoint
from gateway.policy.facts import Facts
from gateway.policy.health import Vitals
from gateway.settings.health import Health
from gateway.settings.replicas import ranked
from gateway.upstreams.base import Answer, Counted
from gateway.upstreams.http1 import Connection, ExchangeError
from gateway.upstreams.pool import Pool

_UNKNOWN_MODEL = re.compile(r"[Tt]he model `[^`]*` does not exist")
_TOO_LONG = re.compile(r"maximum context length|longer than the maximum model length|max_model_len", re.IGNORECASE)
RETRYABLE = frozenset({429, 500, 502, 503, 504})
"""Statuses that another replica may not answer with."""
NOT_A_ROUTE = "Not Found"
"""What the engine's web framework says of a path that it does not have."""
SHEDDING = frozenset({429, 503})
"""Those of a replica that is well, and busy."""
KEY_REFUSED = 401
"""What an engine answers to a key that it does not take: the gateway's own, as no client's reaches it."""


class Replica(Counted):
    """One engine, or one rank of it: its connections, and what it said of itself."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        api_key: str | None,
        connect_s: float,
        vitals: Vitals | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(name, (name, url, api_key, connect_s, rank), Vitals() if vitals is None else vitals)
        self.url = url
        self.rank = rank
        self.facts: Facts | None = None
        self.pool = Pool(url, connect_s=connect_s)
        auth = f"authorization: Bearer {api_key}\r\n" if api_key else ""
        self._static = f"host: {self.pool.authority}\r\n{auth}".encode()
        self._ranked = b"" if rank is None else b"x-data-parallel-rank: %d\r\n" % rank

    @property
    def place(self) -> tuple[str, int | None]:
        """Where its engine is, however it is called and reached."""
        return self.url, self.rank

    def begin(
        self,
        endpoint: Endpoint,
        body: bytes,
        content_type: bytes,
        request_id: str,
        *,
        fresh: bool = False,
        context: bytes = b"",
    ) -> Connection:
        """Send a request, on a new connection if `fresh`. Of the client's headers its trace alone passes: `context`."""
        connection = self.pool.take(fresh=fresh)
        connection.send(self.request(endpoint.path, body, content_type, request_id, context))
        return connection

    def request(self, path: str, body: bytes, content_type: bytes, request_id: str, context: bytes = b"") -> bytes:
        """A whole POST."""
        return b"POST %b HTTP/1.1\r\n%b%b%bcontent-type: %b\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b" % (
            (self.pool.base_path + path).encode(),
            self._static,
            self._ranked,
            context,
            content_type,
            request_id.encode(),
            len(body),
            body,
        )

    def end(self, answer: Connection) -> None:
        """Take the connection back."""
        self.pool.close(answer)

    async def healthy(self, seconds: float) -> bool:
        """Whether /health answers 200."""
        try:
            status, _ = await fetch(self, "/health", seconds)
        except (ExchangeError, UpstreamFailed):
            return False
        return status == 200

    def close(self) -> None:
        """Close the idle connections."""
        self.pool.close_all()

    def query(self, path: str) -> bytes:
        """A whole GET."""
        return b"GET %b HTTP/1.1\r\n%b\r\n" % ((self.pool.base_path + path).encode(), self._static)


def replicas_of(name: str, pool: PoolConfig, *, connect_s: float, health: Health) -> list[Replica]:
    """The replicas of a pool, as it is configured. Raises DocumentError when an engine's key is not there."""
    return [
        Replica(
            called,
            each.url,
            api_key=None if each.api_key is None else each.api_key.read(),
            connect_s=connect_s,
            vitals=Vitals(health, each.drain),
            rank=rank,
        )
        for called, each, rank in ranked(name, pool.replicas)
    ]


async def fetch(replica: Replica, path: str, seconds: float, limit: int = 8 * 1024 * 1024) -> tuple[int, bytes]:
    """(status, body) of a GET, as `exchange` gives it."""
    return await exchange(replica, replica.query(path), seconds, limit)


async def exchange(replica: Replica, data: bytes, seconds: float, limit: int) -> tuple[int, bytes]:
    """(status, body) that a whole request is answered with, over a connection of its own; `seconds` for each wait.

    Raises ExchangeError, or UpstreamFailed when the body is larger than `limit` bytes.
    """
    connection = replica.pool.take(fresh=True)
    try:
        connection.send(data)
        status = await connection.head(seconds)
        return status, await whole_body(connection, lambda: seconds, limit)
    finally:
        connection.shut()


async def whole_body(answer: Answer, seconds: Callable[[], float], limit: int) -> bytes:
    """The rest of an answer, each piece within as many seconds as there are for it then.

    Raises ExchangeError, or UpstreamFailed when it is larger than `limit` bytes.
    """
    body = answer.rest()
    pieces: list[bytes] = []
    size = 0
    while body is None and (piece := await answer.read(seconds(), "the rest of its answer")):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            break
    if body is None:
        body = b"".join(pieces)
    if len(body) > limit:
        raise UpstreamFailed(f"the engine's answer is larger than {limit} bytes")
    return body


def translate(status: int, body: bytes, retry_after: int) -> RequestError:
    """A vLLM error as one of the gateway's. vLLM's `code` is an integer and its texts change with versions."""
    return translate_error(status, _error_object(body), retry_after)


def translate_error(status: int, error: dict[str, Any], retry_after: int) -> RequestError:
    """The same, from an error object that came with any status."""
    message = str(error.get("message") or "it does not say why")
    param = error.get("param")
    param = param if isinstance(param, str) else None
    code = error.get("code")
    if status < 400 and isinstance(code, int):
        status = code
    if status in (400, 413, 422):
        kind = ContextLengthExceeded if _TOO_LONG.search(message) else InvalidRequest
        return kind(message, param=param)
    if status in (429, 503):
        return UpstreamOverloaded(f"the engine sheds load: {message}", retry_after=retry_after)
    if status == 404 and message == NOT_A_ROUTE:
        return InvalidRequest(f"the engine does not serve this endpoint for the model ({message})")
    return UpstreamFailed(f"the engine answered with status {status}: {message}", param=param)


def misplaced(status: int, error: RequestError) -> bool:
    """Whether an engine refuses what the gateway wrote itself: its key, or the model's name.

    No client can mend that, and another replica may be set up as it should be.
    """
    return status == KEY_REFUSED or (status == 404 and _UNKNOWN_MODEL.search(error.message) is not None)


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(answer, dict):
        return {}
    error = answer.get("error", answer)
    if isinstance(error, dict):
        return {"message": error.get("detail"), **error}
    return {"message": str(error)}
