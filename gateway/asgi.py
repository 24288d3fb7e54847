"""A client under any server of ASGI, which tells of a departure only to whoever waits for it."""

import asyncio

from gateway.client import Client, ClientGone, Message, Receive, Send, gathered


class AsgiClient(Client):
    """One request's client. What it is told waits here until it is drained."""

    __slots__ = ("_headers", "_receive", "_send", "_unsent", "_watcher")

    def __init__(self, scope: Message, receive: Receive, send: Send, *, write_s: float = 30.0) -> None:
        super().__init__(scope["method"], scope["path"], write_s)
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self._receive = receive
        self._send = send
        self._unsent: list[Message] = []
        self._watcher: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first header of a name (lower case)."""
        return self._headers.get(name)

    async def _body(self, limit: int) -> bytes:
        try:
            return await gathered(self._receive, limit)
        except ClientGone:
            self.gone = True
            raise

    def watch(self) -> None:
        """Notice from now on when the client leaves."""
        self._watcher = asyncio.ensure_future(self._watch())

    def unwatch(self) -> None:
        """Stop that."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.departed()

    @property
    def blocked(self) -> bool:
        """Whether something was said that is not sent."""
        return bool(self._unsent)

    async def drain(self) -> None:
        """Send what was said. Raises ClientGone for a client that left or does not read."""
        unsent, self._unsent = self._unsent, []
        try:
            async with asyncio.timeout(self.write_s):
                for message in unsent:
                    await self._send(message)
        except TimeoutError as error:
            self.gone = True
            raise ClientGone from error
        if self.gone:
            raise ClientGone

    def _begin(self, status: int, lines: bytes, length: int | None) -> None:
        headers = [tuple(line.split(b": ", 1)) for line in lines.split(b"\r\n")[:-1]]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        self._unsent.append({"type": "http.response.start", "status": status, "headers": headers})

    def _say(self, data: bytes, *, more: bool) -> None:
        self._unsent.append({"type": "http.response.body", "body": data, "more_body": more})
