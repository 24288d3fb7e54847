"""The door of the admin API, before everything that is behind it, its description too.

    who asks? → not by way of a browser → may they? → a body of bounded size → the application → a line in the log

Without a token everything is 401, whatever the path. A wrong one is answered late, one after the other, so that nobody
tries many; a good one never waits for them. A change is in the log with the name of the token, what was done and what
came of it. No token ever is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.admin.errors import Impatient
from gateway.admin.tokens import Operator, Tokens
from gateway.contracts.envelopes import envelope
from gateway.contracts.errors import BodyTooLarge, InvalidKey, PermissionDenied, RequestError

CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
MOST_BYTES = 65_536
"""Of a body: the largest that makes sense has a few hundred."""
PAUSE_S = 0.5
MOST_WAITING = 32
"""Wrong tokens that wait for their answer; one more is answered at once, and not in the log."""
LONGEST = 200
"""Of a path in the log."""
FIXED = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("tollgate")


class Guard:
    """ASGI before `app`. `count` hears of each request by its result; `pause` waits for so many seconds."""

    def __init__(
        self,
        app: App,
        tokens: Tokens,
        count: Callable[[str], None],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._app, self._tokens, self._count, self._pause = app, tokens, count, pause
        self._line = asyncio.Lock()
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        try:
            who = await self._who(scope)
        except (InvalidKey, Impatient) as error:
            await _refuse(error, send)
        else:
            await self._passed(scope, receive, send, who)

    async def _who(self, scope: Scope) -> Operator:
        """Raises InvalidKey, late."""
        told = [value for name, value in scope["headers"] if name == b"authorization"]
        try:
            return self._tokens.operator(told[0] if len(told) == 1 else None)
        except InvalidKey as error:
            self._count("unauthorized")
            if self._waiting >= MOST_WAITING:
                raise Impatient("too many wrong tokens: wait, then send a good one", retry_after=1) from error
            self._waiting += 1
            try:
                async with self._line:
                    await self._pause(PAUSE_S)
            finally:
                self._waiting -= 1
            log.warning("admin: refused %s of %s: %s", _asked(scope), _address(scope), error.message)
            raise

    async def _passed(self, scope: Scope, receive: Receive, send: Send, who: Operator) -> None:
        """What somebody with a good token asks for."""
        changes, state = scope["method"] in CHANGES, scope.setdefault("state", {})
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *FIXED]
            await send(message)

        try:
            _no_browser(scope)
            if changes and who.role != "write":
                raise PermissionDenied(f"the token {who.name!r} may read, and this changes something: use one to write")
            await self._app(scope, _replayed(await _body(receive)) if changes else receive, told)
        except RequestError as error:
            status = error.status
            await _refuse(error, send)
        finally:
            self._count("failed" if status == 0 or status >= 500 else _result(status, changes))
            if changes:
                done = state.get("done", "nothing changed")
                log.info("admin: %r asked %s of %s: %d, %s", who.name, _asked(scope), _address(scope), status, done)


def _result(status: int, changes: bool) -> str:
    if status >= 400:
        return "refused"
    return "changed" if changes else "read"


def _no_browser(scope: Scope) -> None:
    """A page of another site that a visitor's browser shows sends one of these."""
    for name, value in scope["headers"]:
        if name == b"origin" or (name == b"sec-fetch-site" and value not in (b"none", b"same-origin")):
            raise PermissionDenied("this is no API for browsers: send no Origin header")


async def _body(receive: Receive) -> bytes:
    """All of it. Raises BodyTooLarge; a client that left has sent what it has sent."""
    found, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        found += message.get("body", b"")
        more = message.get("more_body", False)
        if len(found) > MOST_BYTES:
            raise BodyTooLarge(f"expected a body of at most {MOST_BYTES} bytes, found more")
    return bytes(found)


def _replayed(body: bytes) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


async def _refuse(error: RequestError, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), *FIXED]
    if isinstance(error, InvalidKey):
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    body = envelope(error)
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _asked(scope: Scope) -> str:
    """Method and path on one line, whatever a client wrote."""
    return f"{scope['method']} {scope['path'][:LONGEST]!r}"


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "an unknown address"
