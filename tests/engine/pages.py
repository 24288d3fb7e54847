"""The engine's pages: what can be read of it, and in development mode its sleep."""

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.engine import meters, responses
from tests.engine.wire import dumps

if TYPE_CHECKING:
    from tests.engine.connection import Received
    from tests.engine.server import Engine

PAGES = ("/health", "/ping", "/load", "/version", "/v1/models", "/metrics")
KEPT = "/v1/responses/"
"""Where responses could be read again, if vLLM stored any."""
DEVELOPMENT = {"/is_sleeping": "GET", "/sleep": "POST", "/wake_up": "POST"}


def method(path: str, dev_mode: bool) -> str | None:
    """How a page is asked for; None when there is none."""
    return "GET" if path in PAGES or path.startswith(KEPT) else DEVELOPMENT.get(path) if dev_mode else None


def page(engine: "Engine", received: "Received") -> tuple[int, bytes, str]:
    """Status, body and content type. Raises Refusal."""
    if received.path.startswith(KEPT):
        raise responses.unknown(received.path.removeprefix(KEPT))
    if received.path in ("/health", "/ping"):
        return 200 if engine.healthy else 503, b"", ""
    if received.path == "/metrics":
        return 200, meters.render(engine, engine.names[0]), meters.CONTENT_TYPE
    return 200, dumps(_read(engine, received)), "application/json"


def _read(engine: "Engine", received: "Received") -> dict[str, Any]:
    path = received.path
    if path == "/v1/models":
        return models(engine)
    if path == "/version":
        return {"version": engine.version}
    if path == "/load":
        return {"server_load": engine.running + engine.waiting}
    if path == "/sleep":
        level = int(parse_qs(received.query).get("level", ["1"])[0])
        engine.sleep(level)
        return {"status": "sleeping", "level": level}
    if path == "/wake_up":
        engine.wake()
        return {"status": "awake", "tags": None}
    return {"is_sleeping": engine.sleep_level > 0}


def models(engine: "Engine") -> dict[str, Any]:
    """The body of `/v1/models`: the served names, and the adapters, whose parent is the first of them."""
    created, longest = int(engine.clock()), engine.limits.max_model_len
    served = [_model(name, created, f"models/{name}", None, longest) for name in engine.names]
    roots = {name: engine.lora_paths.get(name, f"loras/{name}") for name in engine.loras}
    adapters = [_model(name, created, root, engine.names[0], None) for name, root in roots.items()]
    return {"object": "list", "data": [*served, *adapters]}


def _model(name: str, created: int, root: str, parent: str | None, max_model_len: int | None) -> dict[str, Any]:
    permission = {
        "id": f"modelperm-{hashlib.sha256(name.encode()).hexdigest()[:16]}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": max_model_len,
        "permission": [permission],
    }
