"""The admin API of a running gateway: what an operator would else do in its container.

Each process is started once, and asked for everything.
"""

import ast
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.admin_port import door
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.builders import write_config
from tests.gateway.process import UNWATCHED, Gateway, running
from tests.house import imported, name, python, tree

TOKEN = "w" * 40


@dataclass
class Operated:
    """A gateway and its admin API."""

    gateway: Gateway
    url: str
    folder: Path

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """What a page tells."""
        given = {} if body is None and method != "GET" else body
        answer = await raw.exchange(self.url, method, path, given, {"authorization": f"Bearer {TOKEN}"})
        assert answer.status == status, answer.body
        return answer.json


@asynccontextmanager
async def operated(folder: Path, engine: Engine, *options: str, **changes: Any) -> AsyncIterator[Operated]:
    (folder / "token").write_text(TOKEN)
    admin = {"listen": {"port": 0}, "tokens": {"deploy": {"role": "write", "file": "token"}}}
    (folder / "prices.yaml").write_text('version: "one"\nmodels: {faq: {input: "1", output: "1"}}\n')
    budgets = {"search": {"team": "search", "amount": "10", "per": "total"}}
    values = {"health": UNWATCHED, "prices": "prices.yaml", "budgets": budgets, "admin": admin}
    write_config(folder, [engine.url], **values, **changes)
    async with running(folder, "--config", "gateway.yaml", *options) as gateway:
        gateway.url = await gateway.printed_line(r"answers on (http://\S+)/v1\n")
        url = await gateway.printed_line(r"admin API on (http://\S+)/v1; tokens: deploy \(write\)")
        yield Operated(gateway, url, folder)


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["alone", "workers"])
async def test_an_operator_needs_no_shell(tmp_path: Path, options: tuple[str, ...]) -> None:
    """From the first key to the last change, over the port alone; two processes, for there are two places for it."""
    async with Engine("faq") as engine, operated(tmp_path, engine, *options) as house:
        gateway = house.gateway
        key = await house.ask("POST", "/v1/keys", {"team": "search"}, 201)
        gateway.key = key["key"]

        asked = list[raw.Answer]()

        async def answered(status: int) -> bool:
            """By whichever worker takes it, several times."""
            asked[:] = [await gateway.ask() for _ in range(4)]
            return all(each.status == status for each in asked)

        await gateway.until(lambda: answered(200))
        request = asked[0].header("x-tollgate-request-id")

        async def stored() -> bool:
            found = await house.ask("GET", "/v1/usage?team=search")
            path = f"/v1/requests/{request}"
            there = (await raw.exchange(house.url, "GET", path, None, {"authorization": f"Bearer {TOKEN}"})).status
            return found["total"]["requests"] >= 4 and there == 200

        await gateway.until(stored)
        assert (await house.ask("GET", f"/v1/requests/{request}"))["same"]
        (budget,) = (await house.ask("GET", "/v1/budgets"))["data"]
        assert (budget["amount"], budget["reserved"]) == ("10.00", "0.00")
        assert budget["spent"] != "0.00"

        async def at_rest() -> bool:
            """What another worker has in flight is a look old."""
            (replica,) = (await house.ask("GET", "/v1/replicas"))["data"]
            return (replica["replica"], replica["in_flight"], replica["breaker_open"]) == ("main-0", 0, False)

        await gateway.until(at_rest)
        await _releases(house)
        await _configuration(house)
        await house.ask("POST", f"/v1/keys/{key['id']}/revoke")
        await gateway.until(lambda: answered(401))

        async def counted() -> bool:
            page = (await gateway.get("/metrics")).body.decode()
            return 'tollgate_admin_requests_total{result="changed"} 5.0' in page

        await gateway.until(counted)
        assert (await gateway.get("/v1/keys")).status == 404  # not on the port of clients
        assert await gateway.ended(signal.SIGTERM) == 0
        told = gateway.errors + gateway.printed
    assert "'deploy' asked POST '/v1/keys' of 127.0.0.1: 201, made the key" in told
    assert f"revoked the key {key['id']}" in told
    assert TOKEN not in told
    assert key["key"] not in told
    assert "Traceback" not in told


async def _releases(house: Operated) -> None:
    assert (await house.ask("POST", "/v1/releases/promote", {"release": "faq@2"}))["live"]

    async def live() -> bool:
        return (await house.gateway.ask()).header("x-tollgate-release") == "faq@2"

    await house.gateway.until(live)


async def _configuration(house: Operated) -> None:
    path = house.folder / "gateway.yaml"
    good, before = path.read_text(), await house.ask("GET", "/v1/config")
    path.write_text(good.replace('"pools"', '"polls"'))
    told = await house.ask("POST", "/v1/config/reload")
    assert told["config_digest"] == before["config_digest"]
    assert "polls: unknown key 'polls': did you mean 'pools'" in told["refusal"]["reason"]
    path.write_text(good.replace('"probes": false', '"probes": false, "period": 7.0'))
    after = await house.ask("POST", "/v1/config/reload")
    assert after["refusal"] is None
    assert after["config_digest"] != before["config_digest"]
    assert await house.gateway.digests({before["config_digest"]}) == {after["config_digest"]}


def test_a_gateway_without_it_loads_nothing_of_it() -> None:
    """By what each file imports: a process that shows it takes seconds to start."""
    modules = {name(path).removesuffix(".py").replace("/", "."): path for path in python("gateway")}
    found, ahead = set[str](), ["gateway.cli.serve"]
    while ahead:
        module = ahead.pop()
        if module in found or module not in modules:
            continue
        found.add(module)
        for node in ast.walk(tree(modules[module])):
            ahead += imported(node)
            if isinstance(node, ast.ImportFrom):
                ahead += [f"{node.module}.{alias.name}" for alias in node.names]
    assert len(found) > 100
    assert not [each for each in found if each.startswith("gateway.admin")]
    with door(None) as none:
        assert none is None
