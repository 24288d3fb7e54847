"""The way of one request.

    authenticate → parse → resolve model to release → admit → route → forward → relay → meter → settle → record

Here alone the steps meet: what `policy` decides is done in this order, and settled exactly once, whatever happens.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from gateway.asgi import AsgiClient
from gateway.budgeting import Budgeting, Lease
from gateway.client import Client, ClientGone, Message, Receive, Send
from gateway.contracts.errors import GatewayStopping, InternalError, LedgerFull, MethodNotAllowed, RequestError, let_go
from gateway.contracts.ledger import CLIENT_CLOSED
from gateway.forwarding import Forwarding
from gateway.logs import named
from gateway.policy.accounting import admit
from gateway.policy.auth import authenticate, still
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.limits import Admission, Reservation, told
from gateway.policy.request import parse
from gateway.policy.resolution import Asked, fallbacks, resolve
from gateway.relay import Exchange
from gateway.server.head import line
from gateway.serving import ReplicaPool, Serving
from gateway.sharing import Sharing
from gateway.stores.spool import Spool
from gateway.telemetry import Telemetry
from gateway.tracing import Tracing

log = logging.getLogger("tollgate")


@dataclass(frozen=True)
class DataPlane:
    """An ASGI callable. Clocks and the source of request ids come in as arguments."""

    serving: Callable[[], Serving]
    spool: Spool
    telemetry: Telemetry
    admission: Admission
    budgeting: Budgeting
    forwarding: Forwarding
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    new_id: Callable[[], str]
    sharing: Sharing | None = None
    tracing: Tracing | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """The same under any server of ASGI."""
        client = AsgiClient(scope, receive, send)
        try:
            await self.serve(client)
        finally:
            with suppress(ClientGone):
                await client.drain()

    async def serve(self, client: Client) -> None:
        """Answer one request of `policy.endpoints.ENDPOINTS`."""
        serving, client.request_id = self.serving(), self.new_id()
        client.dialect, client.write_s = ENDPOINTS[client.path].dialect, serving.timeouts.client
        client.lines = line(b"x-tollgate-request-id", client.request_id.encode())
        if self.tracing is None:
            client.follow()
        else:
            self.tracing.begin(client, self.clock())
        try:
            await self._serve(serving, client, client.request_id)
        except ClientGone:
            return
        except RequestError as error:
            self._fail(client, error)
        except asyncio.CancelledError:
            with suppress(InternalError):  # all of the answer may have been said
                self._fail(client, GatewayStopping("the gateway stops before this answer has ended: ask again"))
            raise
        except Exception:
            log.exception("a defect of the gateway ended request %s", client.request_id, extra=named(client))
            self._fail(client, InternalError("the gateway failed; its log has the request id"))
        finally:
            if self.tracing is not None and client.trace is not None:
                self.tracing.end(client.trace)

    async def _serve(self, serving: Serving, client: Client, request_id: str) -> None:
        """Exactly one row: admitted on the way in, settled on the way out. Nothing in `finally` awaits."""
        now, started, snapshot = self.clock(), self.monotonic(), serving.snapshot
        try:
            principal = authenticate(client.header(b"authorization"), client.header(b"x-api-key"), snapshot.keys, now)
            if client.method != "POST":
                raise MethodNotAllowed(f"{client.path} takes POST, not {client.method}")
            received = await client.read_body(serving.limits.max_body_bytes)
            received_at = self.monotonic()
            if (latest := self.serving()) is not serving:
                still(principal, latest.snapshot.keys, self.clock())
            request = parse(received, ENDPOINTS[client.path], client.header(b"content-type"))
            resolved = resolve(request.model, principal, snapshot, now, Asked(request, client.header))
            region, tags = serving.tagging.of(principal, client.header)
            exchange = Exchange(
                client=client,
                request=request,
                principal=principal,
                account=admit(request_id, now, principal, request, resolved.release, serving.prices, region, tags),
                prices=serving.prices,
                limits=serving.limits,
                timeouts=serving.timeouts,
                digest=serving.digest,
                monotonic=self.monotonic,
                started=started,
            )
            exchange.account.received_s = received_at - started
            pool = self.forwarding.aim(exchange, resolved, serving)
            reservation, lease = await self._reserve(serving, exchange)
        except RequestError as error:
            self.telemetry.refusals.labels(error.code).inc()
            raise
        account = exchange.account
        try:
            self.spool.admit(account.admitted)
        except LedgerFull as error:  # not admitted, so there is no row
            self.admission.settle(reservation, 0, started)
            self.budgeting.release(lease)
            self.telemetry.refusals.labels(error.code).inc()
            raise
        try:
            client.watch()
            if (failure := await self.forwarding.to(exchange, pool)) is not None:
                await self._fallback(exchange, serving, pool, failure)
        except ClientGone:
            account.outcome, account.status = CLIENT_CLOSED, 499
            raise
        except RequestError as error:
            account.outcome, account.status = error.code, error.status
            raise
        except asyncio.CancelledError:
            account.outcome, account.status = GatewayStopping.code, GatewayStopping.status
            raise
        except Exception:
            account.outcome, account.status = InternalError.code, InternalError.status
            raise
        finally:
            client.unwatch()
            self.admission.settle(reservation, account.tokens, ended := self.monotonic())
            self._record(serving, exchange, lease, ended)

    def _record(self, serving: Serving, exchange: Exchange, lease: Lease | None, ended: float) -> None:
        """The row of a request that is over."""
        row = exchange.account.settled(exchange.prices, ended - exchange.started)
        row = self.budgeting.settle(lease, row, exchange.account, serving.pools[exchange.account.release.pool].replicas)
        self.spool.settle(row)
        self.telemetry.settled(row, exchange.account)
        if exchange.client.trace is not None:
            exchange.client.trace.row = row

    async def _fallback(self, exchange: Exchange, serving: Serving, asked: ReplicaPool, error: RequestError) -> None:
        """By the fallbacks of the release that was asked for; if none of them can, its failure is told and recorded."""
        account, client, model = exchange.account, exchange.client, exchange.account.admitted.model
        first = (account.release, account.replica, account.usage, client.lines, account.dispatched_s)
        facts = Asked(exchange.request, client.header)
        for resolved in fallbacks(model, exchange.principal, serving.snapshot, self.clock(), facts):
            pool = self.forwarding.aim(exchange, resolved, serving)
            self.telemetry.fallbacks.labels(model, account.release.name).inc()
            if first[2] is None:
                first = (*first[:4], None)  # the first attempt is over: it stands among the tries, with its end
            if await self.forwarding.instead(exchange, pool) is None:
                return
        if account.release is not first[0]:
            account.release, account.replica, account.usage, client.lines, account.dispatched_s = first
            raise error
        await self.forwarding.guess(exchange, asked, error)  # there are no fallbacks

    async def _reserve(self, serving: Serving, exchange: Exchange) -> tuple[Reservation, Lease | None]:
        """What the request takes of limits, whose state its client is told either way, and may cost of budgets."""
        who, client, now, most = exchange.principal, exchange.client, exchange.started, exchange.demand.most
        shared = self.sharing
        try:
            reservation = self.admission.admit(who, most, now) if shared is None else await shared.admit(who, most, now)
        except RequestError:
            client.lines += self.admission.told(who, now)
            raise
        if reservation.open:
            exchange.lines += (lines := told(reservation.key, reservation.team))
            client.lines += lines
        if serving.budgets is None:
            return reservation, None
        try:
            return reservation, await self.budgeting.claim(serving.budgets, exchange)
        except (RequestError, asyncio.CancelledError):
            self.admission.settle(reservation, 0, now)
            raise

    def _fail(self, client: Client, error: RequestError) -> None:
        with suppress(ClientGone):
            client.fail(error)
        let_go(error)
