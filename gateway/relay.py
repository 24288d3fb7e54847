"""One attempt of one request on one replica: forward, relay, meter.

Nothing is retried here. An attempt that failed before the client saw a byte raises `AnotherReplica`; what cannot be
mended by another replica is raised as it is.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gateway.client import Client, ClientGone
from gateway.config import Limits, Timeouts
from gateway.contracts.errors import InvalidRequest, RequestError, UpstreamFailed, UpstreamTimeout, UpstreamUnavailable
from gateway.contracts.ledger import COMPLETED
from gateway.contracts.prices import PriceBook
from gateway.policy.accounting import Account
from gateway.policy.auth import Principal
from gateway.policy.decisions import ascii_json
from gateway.policy.estimate import NO_DEMAND
from gateway.policy.events import Malformed, only_comments
from gateway.policy.fairness import Ticket
from gateway.policy.metering import Meter, read_answer
from gateway.policy.metering import meter as meter_of
from gateway.policy.shapes import Request
from gateway.server.head import common_line, line
from gateway.upstreams.base import Answer, Upstream
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.vllm import RETRYABLE, SHEDDING, misplaced, translate, translate_error, whole_body

RETRY_AFTER_S = 1
"""Seconds after which a client may try again: replicas are tried anew with each request."""

LONGEST_S = 3600
"""The most that is believed of what an engine or provider says of that."""


class AnotherReplica(Exception):
    """Nothing has reached the client yet, and another replica may do better."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(error.message)
        self.error = error


class EngineBroken(AnotherReplica):
    """The engine answered, with a failure of its own."""


class EngineLacks(AnotherReplica):
    """The engine does not hold the adapter that it was taken to hold."""


class Exchange:
    """What every attempt of a request needs. `started` and `monotonic` are in seconds of the same clock.
    `digest` is that of the configuration.

    What changes with the release that answers: `body` is what its engines get, `demand` what it asks of them. `lines`
    are the header lines that every answer has. `answered` is called when an attempt's first token is there.
    """

    __slots__ = (
        "account", "answered", "body", "client", "demand", "digest", "limits", "lines", "monotonic", "prices",
        "principal", "request", "started", "timeouts",
    )  # fmt: skip

    def __init__(
        self,
        *,
        client: Client,
        request: Request,
        principal: Principal,
        account: Account,
        prices: PriceBook,
        limits: Limits,
        timeouts: Timeouts,
        digest: str,
        monotonic: Callable[[], float],
        started: float,
    ) -> None:
        self.client = client
        self.request = request
        self.principal = principal
        self.account = account
        self.prices = prices
        self.limits = limits
        self.timeouts = timeouts
        self.digest = digest
        self.monotonic = monotonic
        self.started = started
        self.lines = client.lines
        self.body = request.body
        self.demand = NO_DEMAND
        self.answered: Callable[[], None] = _nothing

    def ticket(self, arrived_at: float = 0.0, deadline: float = math.inf) -> Ticket:
        """Its place in a queue, and what its tenant is charged; times in seconds, those of `monotonic`."""
        who, demand, adapter = self.principal, self.demand, self.account.release.adapter
        kind = "" if adapter is None else adapter.name
        return Ticket(who.team, who.priority, who.weight, demand.tokens, 0, demand.output, arrived_at, deadline, kind)

    async def on(self, upstream: Upstream) -> None:
        """Relay the answer of one replica. Raises RequestError, AnotherReplica or ClientGone."""
        begun = self.monotonic()
        self.account.dispatched_s = begun - self.started
        try:
            await self._attempt(upstream)
        except (ExchangeError, Malformed) as error:
            if self.client.gone:
                raise ClientGone from error
            upstream.vitals.failed(self.monotonic())
            raise self._explained(upstream, error) from error
        except EngineBroken:
            upstream.vitals.failed(self.monotonic())
            raise
        except (AnotherReplica, RequestError):
            upstream.vitals.succeeded(self.monotonic())  # it answered, if not what was asked for
            raise
        ended = self.monotonic()
        upstream.vitals.answered(ended, ended - begun)

    async def _attempt(self, upstream: Upstream) -> None:
        answer = self._begin(upstream)
        try:
            try:
                await self._over(answer)
            except ExchangeError as error:
                # The engine may close a kept connection in the moment of its reuse: that says nothing of the engine.
                if not (answer.reused and error.unheard) or self.client.gone:
                    raise
                upstream.end(answer)
                answer = self._begin(upstream, fresh=True)
                await self._over(answer)
        finally:
            upstream.end(answer)

    def _begin(self, upstream: Upstream, *, fresh: bool = False) -> Answer:
        if self.client.gone:
            raise ClientGone
        endpoint, request_id = self.request.endpoint, self.account.admitted.request_id
        kind, trace = self.request.content_type, self.client.trace
        context = self.client.context if trace is None else trace.context
        return upstream.begin(endpoint, self.body, kind, request_id, fresh=fresh, context=context)

    async def _over(self, answer: Answer) -> None:
        self.client.aborts(answer.abort)
        try:
            # An answer in one piece begins when its generation has ended: only the total can bound that.
            seconds = most = self._within(self.timeouts.total)
            if self.request.stream:
                seconds = min(self.timeouts.first_byte, most)
            status = await answer.head(seconds, most)
            whole = answer.headers.get(b"content-type", b"").startswith(b"application/json")
            if status == 200 and self.request.stream and not whole:
                await self._stream(answer)
            else:
                # An answer that comes in one piece, or an engine's error.
                body = await whole_body(answer, self._left, self.limits.max_response_bytes)
                self._whole(answer, body)
                if self.client.blocked:
                    await self.client.drain()
        finally:
            self.client.aborts(None)
        self.account.outcome, self.account.status = COMPLETED, 200

    def _whole(self, answer: Answer, body: bytes) -> None:
        account = self.account
        if answer.status != 200:
            raise self._refused(answer.status, translate(answer.status, body, _wait(answer.headers)))
        account.usage, error = read_answer(body, self.request.endpoint, answer.headers)
        if error is not None:
            raise self._failed(error)
        # Of the engine's headers the client needs what the body is, and what vLLM tells beside packed vectors.
        lines = [self._first_byte()]
        if (kind := answer.headers.get(b"content-type")) is not None:
            lines.append(common_line(b"content-type", kind))
        if (metadata := answer.headers.get(b"metadata")) is not None:
            lines.append(line(b"metadata", metadata))
        if (cost := account.cost(self.prices)) is not None:
            lines.append(b"x-tollgate-cost: %b\r\n" % format(cost, "f").encode())
        self.client.answer(200, b"".join(lines), body)

    async def _stream(self, answer: Answer) -> None:
        """Server-sent events, relayed as they come and counted one by one."""
        meter = meter_of(self.request)
        first_by = self.monotonic() + self.timeouts.first_byte
        try:
            while data := await answer.read(self._within(self._idle(first_by))):
                await self._events(meter.feed(data), meter)
            if not meter.finished:
                raise ExchangeError("its stream ended before its last event")
        except ExchangeError as error:
            if not meter.finished:  # after its last event nothing is missing, however the connection ends
                self._judge(error)
                raise
        except ClientGone:
            answer.abort("the client left")
            with suppress(ExchangeError, Malformed):  # what had come was generated, though nobody will read it
                meter.feed(await answer.read(self.timeouts.idle))
            raise
        finally:
            self.account.usage, self.client.events = meter.usage, meter.events
        with suppress(ClientGone):  # clients leave with the last event, and do not wait for the end after it
            self.client.write(b"", more=False)
            if self.client.blocked:
                await self.client.drain()

    async def _events(self, events: bytes, meter: Meter) -> None:
        """Whole events for the client. Comments before a token pass by: another replica may still do better."""
        if meter.finished:
            self.client.aborts(None)  # whoever leaves now has it all, and the connection can be kept
        if events and (self.client.started or not only_comments(events)):
            if not self.client.started:
                self.client.stream(self._first_byte())
            self.client.write(events)
            if self.client.blocked:
                await self.client.drain()
        if meter.error is not None:
            raise self._failed(meter.error)

    def _idle(self, first_by: float) -> float:
        """How long the next piece may take. A comment of an engine that queues does not move the limit of the first."""
        return self.timeouts.idle if self.client.started else first_by - self.monotonic()

    def _judge(self, error: ExchangeError) -> None:
        """A stream of Responses that vLLM breaks off: that is how it refuses a bad request there.

        Whether the engine or the request is at fault cannot be told, so no breaker may count it.
        """
        begun = self.client.started and not self.client.gone
        if self.request.endpoint.wire == "responses" and begun and not error.timeout:
            raise UpstreamFailed(f"replica {self.account.replica!r}: {error}") from error

    def _failed(self, error: dict[str, Any]) -> Exception:
        """An error object that came with status 200, in a whole answer or in a stream; its code is its true status."""
        code = error.get("code")
        return self._refused(code if isinstance(code, int) else 500, translate_error(200, error, RETRY_AFTER_S))

    def _refused(self, status: int, error: RequestError) -> Exception:
        """An engine's error status: its own failure, its load, or the request's fault."""
        if status == 404 and self.account.release.adapter is not None and not isinstance(error, InvalidRequest):
            return EngineLacks(error)
        if misplaced(status, error):
            return EngineBroken(error)
        if status not in RETRYABLE:
            return error
        return AnotherReplica(error) if status in SHEDDING else EngineBroken(error)

    def _first_byte(self) -> bytes:
        self.answered()
        self.account.first_byte_s = self.monotonic() - self.started
        told = common_line(b"x-tollgate-replica", (self.account.replica or "").encode())
        if self.principal.scope == "admin" and self.account.decided is not None:
            told += line(b"x-tollgate-decision", ascii_json(self.account.decided))
        return told

    def _left(self) -> float:
        """How long the next piece of an answer that comes whole may take."""
        return self._within(self.timeouts.idle)

    def _within(self, seconds: float) -> float:
        """A phase's limit, cut to what is left of the total."""
        return max(0.001, min(seconds, self.started + self.timeouts.total - self.monotonic()))

    def _explained(self, upstream: Upstream, error: ExchangeError | Malformed) -> RequestError | AnotherReplica:
        timeout, connecting = getattr(error, "timeout", False), getattr(error, "connecting", False)
        kind: type[RequestError] = UpstreamTimeout if timeout else UpstreamFailed
        if connecting:
            kind = UpstreamUnavailable
        failure = kind(f"replica {upstream.name!r}: {error}", retry_after=RETRY_AFTER_S)
        # A replica that was too slow has most likely done the work: repeating it elsewhere costs its GPU time again.
        return failure if self.client.started or (timeout and not connecting) else AnotherReplica(failure)


def _wait(headers: Mapping[bytes, bytes]) -> int:
    """When to ask again, of an answer that may say so itself: a provider, or a proxy before an engine."""
    told = headers.get(b"retry-after", b"")
    return max(RETRY_AFTER_S, min(int(told[:9]), LONGEST_S)) if told.isdigit() else RETRY_AFTER_S


def _nothing() -> None:
    """Nobody wants to know."""
