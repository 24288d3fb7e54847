"""The shapes of JSON: what is read of bodies and answers, and nothing else of them.

A member that is not there has its default. One of another type than expected makes the whole unreadable, but for `Any`:
there whoever reads it judges.
"""

from typing import Any

import msgspec

from gateway.contracts.usage import Counts
from gateway.policy.endpoints import Endpoint
from gateway.policy.multipart import Form


class Request(msgspec.Struct, frozen=True):
    """A parsed body: its fields as raw JSON or as a form, and what was read of them.

    `content_type` goes to the engine with the body. `choices` is how many answers each prompt gets (`n`), and `limit`
    the most tokens that it allows one of them; None where it does not say.
    """

    body: bytes
    endpoint: Endpoint
    model: str
    stream: bool = False
    wants_usage: bool = False
    wants_continuous_usage: bool = False
    choices: int = 1
    limit: int | None = None
    content_type: bytes = b"application/json"
    fields: dict[str, msgspec.Raw] = {}
    stream_options: dict[str, msgspec.Raw] = {}
    form: Form | None = None


class Message(msgspec.Struct):
    """The role alone; one that is no text is for the engine to judge."""

    role: Any = None


class Turn(msgspec.Struct):
    """One message of a conversation, or item of a response's input: what is rendered of it, as it was written."""

    role: msgspec.Raw = msgspec.Raw(b"")
    type: msgspec.Raw = msgspec.Raw(b"")
    name: msgspec.Raw = msgspec.Raw(b"")
    content: msgspec.Raw = msgspec.Raw(b"")
    tool_calls: msgspec.Raw = msgspec.Raw(b"")
    arguments: msgspec.Raw = msgspec.Raw(b"")
    output: msgspec.Raw = msgspec.Raw(b"")


class Answer(msgspec.Struct):
    """A whole answer, of any endpoint."""

    usage: Any = None
    error: Any = None
    object: Any = None
    metrics: Any = None
    message: Any = None
    code: Any = None


class Choice(msgspec.Struct):
    """A choice in a chunk."""

    index: int = 0
    finish_reason: Any = None


class Chunk(msgspec.Struct):
    """An event of a stream of completions."""

    usage: msgspec.Raw = msgspec.Raw(b"")
    choices: list[Choice] = []
    error: msgspec.Raw = msgspec.Raw(b"")
    metrics: Any = None


class Last(msgspec.Struct):
    """The last chunk of such a stream."""

    system_fingerprint: msgspec.Raw = msgspec.Raw(b"")


class Metadata(msgspec.Struct):
    """What vLLM tells in a header, beside packed vectors."""

    usage: Any = None


class Typed(msgspec.Struct):
    """A part that says what it is."""

    type: str | None = None


class Told(msgspec.Struct):
    """A part that counts."""

    usage: Any = None
    metrics: Any = None


class MessagesEvent(msgspec.Struct):
    """An event of a stream of Anthropic's messages."""

    type: Any = None
    usage: Any = None
    message: Told | None = None
    delta: Typed | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


class ResponsesEvent(msgspec.Struct):
    """An event of a stream of OpenAI's Responses."""

    type: Any = None
    error: msgspec.Raw = msgspec.Raw(b"")


class ResponsesEnd(msgspec.Struct):
    """The last event of such a stream."""

    response: Told | None = None


message = msgspec.json.Decoder(Message).decode
turns = msgspec.json.Decoder(list[Turn]).decode
answer = msgspec.json.Decoder(Answer).decode
chunk = msgspec.json.Decoder(Chunk).decode
counts = msgspec.json.Decoder(Counts).decode
last = msgspec.json.Decoder(Last).decode
metadata = msgspec.json.Decoder(Metadata).decode
messages_event = msgspec.json.Decoder(MessagesEvent).decode
responses_event = msgspec.json.Decoder(ResponsesEvent).decode
responses_end = msgspec.json.Decoder(ResponsesEnd).decode
