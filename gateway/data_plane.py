"""The way of one request.

    authenticate → parse → resolve model to release → admit → route → forward → relay → meter → settle → record

The only place where the steps meet. Each decision is a pure function of `policy`, an attempt on a replica is `relay`'s;
what is done here is the order, and that every admitted request is settled exactly once, whatever happens.
"""

import logging
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from gateway.asgi import Client, ClientGone, Headers, Receive, Send
from gateway.config import Release
from gateway.contracts.errors import InternalError, MethodNotAllowed, RequestError, UpstreamUnavailable
from gateway.contracts.ledger import CLIENT_CLOSED
from gateway.policy.accounting import admit
from gateway.policy.auth import Principal, authenticate
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.health import absence, retry_after
from gateway.policy.request import Request, parse, prepare
from gateway.policy.resolution import fallbacks, resolve
from gateway.relay import AnotherReplica, Exchange
from gateway.serving import ReplicaPool, Serving
from gateway.stores.spool import Spool
from gateway.telemetry import Telemetry

MAX_ATTEMPTS = 3

log = logging.getLogger("tollgate")


@dataclass(frozen=True)
class DataPlane:
    """An ASGI callable. Clocks and the source of request ids come in as arguments."""

    serving: Callable[[], Serving]
    spool: Spool
    telemetry: Telemetry
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    new_id: Callable[[], str]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request of `policy.endpoints.ENDPOINTS`."""
        serving, request_id = self.serving(), self.new_id()
        dialect, write_s = ENDPOINTS[scope["path"]].dialect, serving.timeouts.client
        client = Client(scope, receive, send, write_s=write_s, dialect=dialect, request_id=request_id)
        headers: Headers = [(b"x-tollgate-request-id", request_id.encode())]
        try:
            await self._serve(serving, client, request_id, headers)
        except ClientGone:
            return
        except RequestError as error:
            await self._fail(client, error, headers)
        except Exception:
            log.exception("a defect of the gateway ended request %s", request_id)
            await self._fail(client, InternalError("the gateway failed; its log has the request id"), headers)

    async def _serve(self, serving: Serving, client: Client, request_id: str, headers: Headers) -> None:
        now, started, snapshot = self.clock(), self.monotonic(), serving.snapshot
        try:
            principal = authenticate(client.header(b"authorization"), client.header(b"x-api-key"), snapshot.keys, now)
            if client.method != "POST":
                raise MethodNotAllowed(f"{client.path} takes POST, not {client.method}")
            received = await client.read_body(serving.limits.max_body_bytes)
            request = parse(received, ENDPOINTS[client.path], client.header(b"content-type"))
            release, ungated = resolve(request.model, principal, snapshot, now)
            pool, body, told = self._aimed(request, release, ungated, serving)
        except RequestError as error:
            self.telemetry.refusals.labels(error.code).inc()
            raise
        headers += told
        exchange = Exchange(
            client=client,
            request=request,
            body=body,
            account=admit(request_id, now, principal, request, release, serving.prices),
            headers=headers,
            prices=serving.prices,
            limits=serving.limits,
            timeouts=serving.timeouts,
            monotonic=self.monotonic,
            started=started,
        )
        await self._settled(exchange, pool, principal, serving)

    async def _settled(self, exchange: Exchange, pool: ReplicaPool, principal: Principal, serving: Serving) -> None:
        """Exactly one row: admitted on the way in, settled on the way out. Nothing in `finally` awaits."""
        account, client = exchange.account, exchange.client
        self.spool.admit(account.admitted)
        try:
            client.watch()
            await self._answer(exchange, pool, principal, serving)
        except ClientGone:
            account.outcome, account.status = CLIENT_CLOSED, 499
            raise
        except RequestError as error:
            account.outcome, account.status = error.code, error.status
            raise
        except Exception:
            account.outcome, account.status = InternalError.code, InternalError.status
            raise
        finally:
            client.unwatch()
            row = account.settled(exchange.prices, self.monotonic() - exchange.started)
            self.spool.settle(row)
            self.telemetry.settled(row)

    async def _answer(self, exchange: Exchange, pool: ReplicaPool, principal: Principal, serving: Serving) -> None:
        """By the release that was asked for; by its fallbacks, when none of its replicas can and no byte has left.

        When they cannot either, the failure that is told and recorded is that of the first.
        """
        failure = await self._route(exchange, pool)
        if failure is None:
            return
        account, headers = exchange.account, exchange.headers
        first = account.release, account.replica, account.usage, headers[1:]
        for release, ungated in fallbacks(account.admitted.model, principal, serving.snapshot, self.clock()):
            pool, exchange.body, headers[1:] = self._aimed(exchange.request, release, ungated, serving)
            account.release = release
            self.telemetry.fallbacks.labels(account.admitted.model, release.name).inc()
            if await self._route(exchange, pool) is None:
                return
        account.release, account.replica, account.usage, headers[1:] = first
        raise failure

    def _aimed(
        self, request: Request, release: Release, ungated: str | None, serving: Serving
    ) -> tuple[ReplicaPool, bytes, Headers]:
        """(pool, body, headers of the answer) of a request as a release takes it."""
        pool = serving.pools[release.pool]
        body = prepare(request, release, pool.served_model or release.model)
        told = [(b"x-tollgate-release", release.name.encode()), (b"x-tollgate-digest", release.digest.encode())]
        if ungated is not None:
            self.telemetry.ungated.labels(release.name).inc()
            told.append((b"x-tollgate-warning", b"served without a verdict"))
        return pool, body, told

    async def _route(self, exchange: Exchange, pool: ReplicaPool) -> RequestError | None:
        """Try replicas, each at most once, until one has answered or bytes have reached the client.

        Returns why none of them could answer, if so; raises what no other replica can mend, and every failure after the
        first byte.
        """
        account, untried, failure = exchange.account, list(pool.replicas), None
        pool.retries.deposit(self.monotonic())
        for attempt in range(MAX_ATTEMPTS):
            chosen = pool.choose(untried, self.monotonic())
            if chosen is None or (attempt and not self._may_retry(pool)):
                break
            replica = untried.pop(chosen)
            account.attempts, account.replica, account.usage = account.attempts + 1, replica.name, None
            try:
                with replica:
                    await exchange.on(replica)
                    return None
            except AnotherReplica as failed:
                failure = failed.error
                if exchange.client.started:
                    raise failure from failed
        error = failure or UpstreamUnavailable(f"no replica takes requests: {absence(pool.replicas)}")
        error.retry_after = retry_after(pool.replicas, self.monotonic())
        return error

    def _may_retry(self, pool: ReplicaPool) -> bool:
        """Failing over must not amplify load: neither that of a failing pool, nor that of a saturated one."""
        allowed = pool.retries.withdraw(self.monotonic())
        (self.telemetry.retries if allowed else self.telemetry.retries_denied).labels(pool.name).inc()
        return allowed

    async def _fail(self, client: Client, error: RequestError, headers: Headers) -> None:
        try:
            await client.fail(error, headers)
        except ClientGone:
            return
