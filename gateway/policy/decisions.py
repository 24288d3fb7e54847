"""What was decided of one request, and from what: enough to decide it again, and nothing of what the client wrote.

The ledger keeps it as JSON. Names of fields stand only where there is one of a kind: of candidates there are many.
"""

import json
from typing import Generic, TypeVar

import msgspec

from gateway.contracts.errors import InputError
from gateway.policy.routing import POLICIES, Ask, Candidate, Choice
from gateway.policy.rules import Ruled

__all__ = ["Decided", "Routed", "Ruled", "ascii_json", "decode", "encode"]

Rules = TypeVar("Rules", Ruled, msgspec.Raw)


class Routed(msgspec.Struct, frozen=True, array_like=True):
    """One choice among replicas: the policy's name, what it saw, the position that it took, and why."""

    policy: str
    candidates: tuple[Candidate, ...]
    ask: Ask
    position: int
    reason: str

    def again(self) -> Choice:
        """What the policy answers to the same question now. Raises InputError for a policy that is no more."""
        if self.policy not in POLICIES:
            known = ", ".join(POLICIES)
            raise InputError(f"the policy {self.policy!r} decided this, and this version has {known}")
        return POLICIES[self.policy](self.candidates, self.ask)


class Decided(msgspec.Struct, Generic[Rules], omit_defaults=True, gc=False):
    """Everything that was decided of a request.

    `config` is the digest of the configuration. `ruled` has one decision for each model that has rules, those of
    fallbacks too: as JSON while more is decided, since each is written once. `routes` has one choice for each attempt
    that had one. `queued_s` is how long it waited for a replica, in all. `blocks` are keyed hashes of the prompt's
    prefix, one for every `block_tokens` tokens or so: what two requests share can be told, and not what it is.
    """

    config: str = ""
    ruled: list[Rules] = []
    routes: list[Routed] = []
    queued_s: float = 0.0
    blocks: list[int] = []
    block_tokens: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Decided[Ruled]).decode


def encode(decided: Decided[Rules]) -> msgspec.Raw:
    """The JSON of what was decided."""
    return msgspec.Raw(_encode(decided))


def ascii_json(decided: Decided[Rules]) -> bytes:
    """The same for a header, which takes ASCII alone, but for the blocks.

    Those decide nothing again, and of a long prompt they are more than clients and proxies take for a header.
    """
    told = json.loads(_encode(decided))
    for name in ("blocks", "block_tokens"):
        told.pop(name, None)
    return json.dumps(told, separators=(",", ":")).encode()


def decode(text: str | bytes) -> Decided[Ruled]:
    """What was decided of a row's request. Raises InputError when it is none."""
    try:
        return _decode(text)
    except msgspec.DecodeError as error:
        raise InputError(f"this row's decision cannot be read by this version ({error})") from error
