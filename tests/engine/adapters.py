"""Adapters that come and go while the engine runs, as vLLM answers for them."""

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.engine.job import Refusal

if TYPE_CHECKING:
    from tests.engine.connection import Received
    from tests.engine.server import Engine

LOAD, UNLOAD = PATHS = ("/v1/load_lora_adapter", "/v1/unload_lora_adapter")
NOWHERE = "/nowhere"
"""A path that holds no adapter."""


def method(engine: "Engine", path: str) -> str | None:
    """How a page is asked for; None when there is none."""
    return "POST" if path in PATHS and engine.runtime_loras else None


def page(engine: "Engine", received: "Received") -> tuple[int, bytes, str]:
    """Status, body and content type. Raises Refusal."""
    name = received.json["lora_name"]
    if received.path == UNLOAD:
        if name not in engine.loras:
            raise Refusal(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        _hold(engine, tuple(each for each in engine.loras if each != name))
        return 200, f"Success: LoRA adapter '{name}' removed successfully.".encode(), ""
    if name in engine.names:
        raise Refusal(400, f"The lora adapter '{name}' conflicts with a served base model.", "InvalidUserInput")
    if name in engine.loras:
        advice = "If you want to load the adapter in place, set 'load_inplace' to True."
        raise Refusal(400, f"The lora adapter '{name}' has already been loaded. {advice}", "InvalidUserInput")
    path = received.json["lora_path"]
    if path.startswith(NOWHERE):
        raise Refusal(404, f"Loading lora {name} failed: No adapter found for {path}", "NotFoundError")
    engine.lora_paths[name] = path
    _hold(engine, (*engine.loras, name))
    return 200, f"Success: LoRA adapter '{name}' added successfully.".encode(), ""


def _hold(engine: "Engine", loras: tuple[str, ...]) -> None:
    engine.loras = loras
    engine.limits = replace(engine.limits, loras=loras)
