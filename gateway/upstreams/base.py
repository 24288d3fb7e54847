"""What the relay asks of an engine, whichever way it is reached: a seam of two methods."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

from gateway.policy.endpoints import Endpoint
from gateway.policy.health import Breaker, Vitals
from gateway.policy.signals import Signals


class Answer(Protocol):
    """One answer, as it arrives. `reused`: it came over a kept connection, whose failure may be no fault of the engine.

    `status` is 0 until the head is there; the names of `headers` are in lower case.
    """

    reused: bool
    status: int

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """The head."""

    async def head(self, seconds: float, most: float = ...) -> int:
        """Wait for the head and return the status. Raises ExchangeError.

        `seconds` from when the engine has the request, `most` from now: a connection may have to be made before.
        """

    async def read(self, seconds: float, what: str = "the next piece") -> bytes:
        """The next piece of the body; `b""` at the end. Raises ExchangeError."""

    def rest(self) -> bytes | None:
        """The rest of the body, if all of it has arrived."""

    def abort(self, reason: str) -> None:
        """End it now, so that the engine stops: every wait ends with an ExchangeError."""


class Upstream(Protocol):
    """A vLLM replica, or a provider. Two of one `identity` are one engine or provider, reached in one way."""

    name: str
    identity: tuple[object, ...]
    in_flight: int
    outstanding: int
    signals: Signals | None
    breaker: Breaker
    vitals: Vitals
    freed: Callable[[], None] | None
    """Who is told each time that a request is over."""

    before: int
    """What is in flight on its engine beside: requests of the one in whose place it is."""

    def begin(
        self,
        endpoint: Endpoint,
        body: bytes,
        content_type: bytes,
        request_id: str,
        *,
        fresh: bool = False,
        context: bytes = b"",
    ) -> Answer:
        """Send a request, over a new connection if `fresh`. `context` are header lines that name its trace.

        That it cannot be sent, the answer's waits say."""

    def end(self, answer: Any) -> None:
        """Take back what `begin` gave; always called."""

    async def healthy(self, seconds: float) -> bool:
        """Whether it says of itself that it serves."""

    def close(self) -> None:
        """Close what is idle, for good."""

    def __enter__(self) -> "Upstream":
        """A request is on its way."""

    def __exit__(self, *exc: object) -> None:
        """It is over."""


class Counted:
    """The part that every upstream has: who it is, what is known of it, and how many requests are in flight on it.

    The count is held by `with upstream:`, so that no path out of a request can leak it. `outstanding` are the tokens of
    those that `serving.Route` sent here; `signals` what the engine last said of its load, where it is asked.

    `heir` is what a reload has put in its place, at the same engine. Its requests take room there until they have
    ended, and are in the heir's `before`.
    """

    def __init__(self, name: str, identity: tuple[object, ...], vitals: Vitals) -> None:
        self.name = name
        self.identity = identity
        self.in_flight = 0
        self.outstanding = 0
        self.signals: Signals | None = None
        self.vitals = vitals
        self.breaker = vitals.breaker
        self.freed: Callable[[], None] | None = None
        self.before = 0
        self.heir: Counted | None = None

    def follow(self, former: "Counted") -> None:
        """Take its place, and hear of its requests that end."""

        def ended() -> None:
            # Counted anew: who began before the reload may have gone there after it.
            self.before = former.in_flight + former.before
            if self.freed is not None:
                self.freed()

        self.before, former.heir, former.freed = former.in_flight + former.before, self, ended

    def __enter__(self) -> Self:
        """A request is on its way."""
        self.in_flight += 1
        if self.breaker.failures:  # without a failure there is no trial, neither to begin nor to end
            self.breaker.begin()
        return self

    def __exit__(self, *exc: object) -> None:
        """It is over."""
        self.in_flight -= 1
        if self.breaker.trial:
            self.breaker.ended()
        if self.freed is not None:
            self.freed()
