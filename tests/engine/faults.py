"""What a simulated engine can be told to do wrong.

    Fault("refuse")                    503, vLLM's admission error, no Retry-After
    Fault("error", status=500)         that status, vLLM's error envelope with `message`
    Fault("redirect", message=URL)     307 with a location
    Fault("error_200_flat")            200 and {"object":"error",...}
    Fault("error_200_nested")          200 and {"error":{...}}
    Fault("close" | "reset", after=n)  the connection ends (FIN | RST)
    Fault("half_close", after=n)       the engine ends its sending side and goes on reading
    Fault("stall", after=n)            nothing more is sent; the connection stays open
    Fault("garbage", after=n)          bytes that are not HTTP, then FIN
    Fault("garbage_json", after=n)     200 and a body, or an event, that is not JSON
    Fault("error_event", after=n)      generation fails, with `message`: what a stream then ends with is its API's own
                                       (an event with an error; for responses, a connection that breaks)
    Fault("wrong_length", by=n)        `content-length` is n larger than the body (smaller when negative), then FIN
    Fault("no_usage")                  no usage anywhere, asked for or not
    Fault("no_done")                   the stream ends well, without its last event (`[DONE]`, `message_stop`, …)
    Fault("hangup")                    a whole answer, then FIN without `connection: close`
    Fault("ping")                      the comment `message` (default `: ping`) before each event
    Fault("split", size=n)             events cut into HTTP chunks of n bytes, each written by itself
    Fault("drip", size=n)              every byte of the answer, its head too, written n at a time
    Fault("coalesce", size=n)          n events in one HTTP chunk (0: the whole stream in one)

`after=None` means before the head; `after=n` after n events of a stream (the role chunk is the first), or, for a plain
answer, in the middle of its body. `times` is how many requests it strikes (0: all of them); `path` restricts it to
one path, and `match` to bodies that contain this text. Without a `path` it strikes the inference endpoints alone.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

Kind = Literal[
    "refuse",
    "error",
    "redirect",
    "error_200_flat",
    "error_200_nested",
    "close",
    "reset",
    "half_close",
    "stall",
    "garbage",
    "garbage_json",
    "error_event",
    "wrong_length",
    "no_usage",
    "no_done",
    "hangup",
    "ping",
    "split",
    "drip",
    "coalesce",
]
KINDS: tuple[str, ...] = get_args(Kind)

AT_A_POINT: frozenset[str] = frozenset({"close", "reset", "half_close", "stall", "garbage"})
"""These strike at the place that `after` names, whatever the answer is."""


class Died(ConnectionError):
    """A fault ended the connection in the middle of an answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to do wrong; see the module's table."""

    kind: Kind
    times: int = 1
    after: int | None = None
    status: int = 500
    message: str = ""
    by: int = 10
    size: int = 1
    path: str | None = None
    match: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, found {self.kind!r}")

    def strikes(self, path: str, body: bytes, inference: bool) -> bool:
        """Whether this request is one that the fault is meant for."""
        here = inference if self.path is None else path == self.path
        return here and self.match.encode() in body


def from_json(value: Any) -> list[Fault]:
    """The faults of a `POST /_fault` body: one object or a list. Raises ValueError."""
    objects = value if isinstance(value, list) else [value]
    known = {field.name for field in fields(Fault)}
    for each in objects:
        if not isinstance(each, dict) or "kind" not in each or not set(each) <= known:
            raise ValueError(f"expected an object with `kind` and any of {', '.join(sorted(known))}, found {each!r}")
    return [Fault(**each) for each in objects]


class Faults(list[Fault]):
    """The faults that are waiting, the first that fits a request first."""

    def take(self, path: str, body: bytes, inference: bool) -> Fault | None:
        """The fault for this request, with one strike used up."""
        for at, fault in enumerate(self):
            if fault.strikes(path, body, inference):
                if fault.times == 1:
                    del self[at]
                elif fault.times > 1:
                    self[at] = replace(fault, times=fault.times - 1)
                return fault
        return None
