"""A real browser, spoken to in its own protocol, which can be as narrow as a phone."""

import asyncio
import base64
import itertools
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_ADDRESS = re.compile(rb"DevTools listening on (ws://\S+)")
_START_S = 60.0
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")


class Tab:
    """One page: `call` a method of the protocol, and read what the page complained about in `complaints`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self.complaints: list[str] = []
        self._socket, self._session, self._ids = socket, session, itertools.count(100)
        self._loaded = False

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        wanted = next(self._ids)
        await self._socket.send_json({"id": wanted, "method": method, "params": params, "sessionId": self._session})
        while True:
            message = await self._next()
            if message.get("id") == wanted:
                assert "error" not in message, f"{method}: {message}"
                return message["result"]

    async def _next(self) -> dict[str, Any]:
        message = await self._socket.receive_json(timeout=_START_S)
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded":
            self.complaints.append(str(params["entry"]["text"]))
        elif message.get("method") == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        elif message.get("method") == "Page.loadEventFired":
            self._loaded = True
        return message

    async def open(self, address: str, width: int, *, height: int = 900, dark: bool = False) -> None:
        """Load an address (of a file: `path.as_uri()`) at a width in CSS pixels, in light or dark."""
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        await self.call("Page.navigate", url=address)
        while not self._loaded:
            await self._next()

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def picture(self, *, most: int = 8_000) -> bytes:
        """A screenshot (PNG) of the whole page, or of its first `most` pixels."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], most), "scale": 1}
        shot = await self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """A browser of its own with one empty tab."""
    assert BROWSER is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            BROWSER, *_FLAGS, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.PIPE
        )
        try:
            async with (
                asyncio.timeout(_START_S * 2),
                aiohttp.ClientSession() as session,
                session.ws_connect(await _address(process), max_msg_size=0) as socket,
            ):
                yield await _attached(socket)
        finally:
            process.terminate()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(_START_S):
        async for line in process.stderr:
            if found := _ADDRESS.search(line):
                return found[1].decode()
    raise AssertionError("the browser ended without an address")


async def _attached(socket: aiohttp.ClientWebSocketResponse) -> Tab:
    async def ask(number: int, method: str, **params: Any) -> dict[str, Any]:
        await socket.send_json({"id": number, "method": method, "params": params})
        while (message := await socket.receive_json(timeout=_START_S)).get("id") != number:
            pass
        return message["result"]

    target = (await ask(1, "Target.createTarget", url="about:blank"))["targetId"]
    return Tab(socket, (await ask(2, "Target.attachToTarget", targetId=target, flatten=True))["sessionId"])
