"""A judge that answers as it is told: a small real server, and what talks to it."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from evals.client import Client
from evals.judge_config import JudgeConfig
from evals.services import JudgeServices

Reply = Callable[[dict], "str | Refusal | Said"]
"""What the judge says to a request's body."""


@dataclass(frozen=True)
class Refusal:
    """A status other than 200."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """An answer that ends in its own way, or comes from its own release."""

    text: str
    finish_reason: str | None = "stop"
    headers: dict[str, str] = field(default_factory=dict)


def verdict(word: str | int, why: str = "because") -> str:
    """A judgement as the schema wants it."""
    return json.dumps({"reasoning": why, "verdict": word})


def asked(body: dict) -> str:
    """The user message of a request."""
    return body["messages"][-1]["content"]


@dataclass
class Bench:
    """`bodies` are the requests as they came, `slept` the waits, `most` the requests that were under way at once."""

    reply: Reply
    judge: JudgeConfig = field(default_factory=lambda: JudgeConfig(model="judge@3"))
    bodies: list[dict] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        """One completion."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            body = await request.json()
            self.bodies.append(body)
            await asyncio.sleep(0)
            said = self.reply(body)
        finally:
            self.under_way -= 1
        if isinstance(said, Refusal):
            return web.json_response({"error": {"message": "as told"}}, status=said.status, headers=said.headers)
        said = Said(said) if isinstance(said, str) else said
        choice = {"message": {"role": "assistant", "content": said.text}, "finish_reason": said.finish_reason}
        usage = {"prompt_tokens": 100, "completion_tokens": 20}
        headers = {"x-tollgate-cost": "0.0015"} | said.headers
        return web.json_response({"choices": [choice], "usage": usage}, headers=headers)

    async def sleep(self, seconds: float) -> None:
        """Wait for no time."""
        self.slept.append(seconds)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The base URL of this server."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.handle)
        async with TestServer(app) as server:
            yield str(server.make_url("/v1"))

    @asynccontextmanager
    async def services(self, **changed: Any) -> AsyncIterator[JudgeServices]:
        """Services whose judge is this server."""
        ticks = itertools.count(start=0.0, step=0.25)
        async with (
            self.served() as url,
            Client(url, None, connections=100, clock=lambda: next(ticks)) as client,
        ):
            options = {"clock": lambda: 0.0, "sleep": self.sleep, "rng": random.Random(0)} | changed
            yield JudgeServices(client, self.judge, **options)
