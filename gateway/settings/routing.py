"""How a pool chooses among its replicas."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.contracts import documents

PolicyName = Literal[
    "score",
    "least_outstanding",
    "least_in_flight",
    "power_of_two",
    "consistent_hash",
    "session_affinity",
    "round_robin",
]
"""A key of `gateway.policy.routing.POLICIES`."""


class Routing(documents.Frozen):
    """What all pools have in common.

    `session_header` is the request header that names a session, in lower case. `hash_key` keys the hashes of prompts
    and sessions: gateways and workers with the same one hash alike, so that `consistent_hash` and `session_affinity`
    send the same session to the same replica from each of them. Without it each process draws its own.
    """

    session_header: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] = "x-session-id"
    hash_key: documents.Secret | None = None

    def anchored(self, base: Path) -> "Routing":
        """The same with the relative path of the key made relative to a folder."""
        if self.hash_key is None or self.hash_key.file is None:
            return self
        return self.model_copy(update={"hash_key": documents.Secret(file=base / self.hash_key.file)})
