"""What an engine will make a prompt of: the parts of a body that it renders, in its order.

For telling prompts apart, not for reading them: every part is the JSON that the client wrote. The order of keys and
what stands between values make no difference; another way to write the same string does, and costs a cached prefix at
most. What a release's chat template makes of it is the same for all of its requests.
"""

from functools import lru_cache

import msgspec

from gateway.policy import counts, shapes
from gateway.policy.endpoints import Wire
from gateway.policy.shapes import Request

RENDERED = ("cache_salt", "chat_template", "chat_template_kwargs", "reasoning_effort", "documents", "tools")
"""Fields that come before the conversation in a prompt, or change all of it."""
MOST_TURNS = 2**14
"""Of a conversation that is read turn by turn: an empty one takes hundreds of times its bytes. What may have more is
taken as it was written."""
_PROMPTED: frozenset[Wire] = frozenset({"chat", "completions", "responses", "messages"})

_encode = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def canonical(request: Request, system: str | None = None) -> list[bytes]:
    """The parts of the prompt in their order; none for what has no prompt, or cannot be read.

    `system` is the release's own, which a conversation without instructions of its own gets.
    """
    wire, fields = request.endpoint.wire, request.fields
    if wire not in _PROMPTED:
        return []
    pieces: list[bytes] = [fields[name] for name in RENDERED if name in fields]
    if wire == "completions":
        return [*pieces, fields["prompt"]] if "prompt" in fields else []
    own = next((fields[name] for name in ("system", "instructions") if name in fields), None)
    told = fields.get("input" if wire == "responses" else "messages", msgspec.Raw(b"[]"))
    if len(told) > MOST_TURNS and bytes(told).count(b"{") > MOST_TURNS:
        return [*pieces, told] if own is None else [*pieces, own, told]
    try:
        turns = _turns(told, wire)
    except _UNREADABLE:
        return []
    if own is not None:
        pieces.append(own)
    elif system is not None and not any(bytes(each.role) in (b'"system"', b'"developer"') for each in turns):
        pieces.append(_written(system))
    for each in turns:
        pieces += msgspec.structs.astuple(each)
    return pieces


def _turns(told: msgspec.Raw, wire: Wire) -> list[shapes.Turn]:
    if wire == "responses" and bytes(told).startswith(b'"'):  # one text
        return [shapes.Turn(content=told)]
    return shapes.turns(told)


@lru_cache(maxsize=256)
def _written(system: str) -> bytes:
    """The release's prompt, as the gateway writes it into a body."""
    return _encode(system)


def output_limit(request: Request, default: int | None = None) -> int | None:
    """The most output tokens that a request can take: what one answer may have, times all answers to all prompts.

    `default` is the release's, which is written where a body leaves it open. None: as many as the engine has room for.
    What generates nothing (embeddings, tokenizing) takes 0.
    """
    wire, limit = request.endpoint.wire, request.limit
    if wire not in counts.LIMITS:
        return 0
    if limit is None and default is not None and wire != "messages":
        said = request.fields if request.form is None else request.form.parts
        limit = None if any(name in said for name in counts.LIMITS[wire]) else default  # null is said, too
    if not limit:
        return None
    fields = request.fields
    if request.form is not None:
        return limit * request.choices
    alone = request.choices == 1 and wire != "completions" and "best_of" not in fields  # nearly always
    return limit if alone else limit * counts.answers(fields, wire)
