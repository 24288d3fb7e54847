"""Forward: one request to a pool, replica after replica, until one has answered or bytes have reached the client."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.contracts.errors import (
    InvalidRequest,
    QueueFull,
    QueueTimeout,
    RequestError,
    UpstreamOverloaded,
    UpstreamUnavailable,
)
from gateway.policy.accounting import Account
from gateway.policy.auth import Principal
from gateway.policy.fairness import Ticket
from gateway.policy.health import away, candidates, retry_after
from gateway.policy.request import prepare
from gateway.policy.resolution import Resolved
from gateway.queueing import UNBOUNDED, PoolQueue
from gateway.relay import AnotherReplica, EngineBroken, EngineLacks, Exchange
from gateway.serving import ReplicaPool, Serving, told
from gateway.settings.replicas import AdapterConfig
from gateway.telemetry import Telemetry
from gateway.upstreams.adapters import NotLoaded, holders, lost
from gateway.upstreams.base import Upstream
from gateway.upstreams.vllm import Replica

MAX_ATTEMPTS = 3
IDLE = UpstreamOverloaded, UpstreamUnavailable
"""Failures for which a replica computed nothing: it shed the request, or could not be reached."""


@dataclass(frozen=True)
class Forwarding:
    """How requests reach replicas. `monotonic` in seconds; `still` raises InvalidKey for whose key has ended."""

    telemetry: Telemetry
    monotonic: Callable[[], float]
    still: Callable[[Principal], None]

    def aim(self, exchange: Exchange, resolved: Resolved, serving: Serving) -> ReplicaPool:
        """The request as a release's pool takes it; its client is told which release that is."""
        release, decision, ungated = resolved.release, resolved.decision, resolved.ungated
        pool = serving.pools[release.pool]
        exchange.account.release, request, client = release, exchange.request, exchange.client
        exchange.body = prepare(request, release, release.called(pool.served_model))
        exchange.demand = pool.demand(request, release, exchange.principal.team, client.header)
        if decision is not None and decision.ruled is not None:
            exchange.account.ruled(serving.digest, decision.ruled)
        client.lines = exchange.lines + told(release.name, release.digest)
        if ungated is not None:
            self.telemetry.ungated.labels(release.name).inc()
            client.lines += b"x-tollgate-warning: served without a verdict\r\n"
        return pool

    async def to(self, exchange: Exchange, pool: ReplicaPool, guess: bool = False) -> RequestError | None:
        """Try replicas, each at most once, when it is the request's turn; those that are down only with `guess`.
        One that turned out to lack the adapter may be tried again once it has loaded it.

        Returns why none of them could answer, if so; raises what no other replica can mend, and every failure after the
        first byte.
        """
        account, queue = exchange.account, pool.queue
        adapter, untried = account.release.adapter, pool.replicas
        if adapter is not None:
            try:
                untried = await self._holders(exchange, pool, adapter, guess)
            except NotLoaded as error:
                return error
        now = self.monotonic()
        if queue is None or not queue.capped:
            return await self._attempts(exchange, pool, list(untried), now, guess)
        ticket: Ticket | None = None
        if queue.ready(now, None if adapter is None else untried):
            queue.enter(exchange)
        else:
            if adapter is not None:
                self._spread(exchange, pool, adapter, untried, shed=False)
            waited_s = account.decided.queued_s if guess and account.decided is not None else 0.0
            ticket = exchange.ticket(now, now + queue.max_wait - waited_s)
            usable = None if adapter is None else partial(_holding, queue, adapter)
            try:
                await queue.wait(ticket, exchange.client, usable, guess, partial(self.still, exchange.principal))
            except QueueFull as error:
                return error
            except (QueueTimeout, UpstreamUnavailable) as error:
                account.waited(exchange.digest, self.monotonic() - ticket.arrived_at)
                return error
            now = self.monotonic()
            account.waited(exchange.digest, now - ticket.arrived_at)
            untried = queue.replicas if usable is None else usable()  # they may have changed meanwhile
        failure: RequestError | None = None
        try:
            failure = await self._attempts(exchange, pool, list(untried), now, guess)
            return failure
        finally:
            if ticket is None:
                queue.leave(exchange)
            if ticket is not None or queue.charged:
                _settle(queue, queue.charged.pop(exchange, None) if ticket is None else ticket, account, failure)

    async def instead(self, exchange: Exchange, pool: ReplicaPool) -> RequestError | None:
        """Try a fallback's replicas. What it does not take it was never asked for: an outage is no client's mistake."""
        try:
            return await self.to(exchange, pool)
        except InvalidRequest as error:
            if exchange.client.started:
                raise
            return error

    async def guess(self, exchange: Exchange, pool: ReplicaPool, error: RequestError) -> None:
        """Nobody else can answer: if no replica was asked, since none was worth it, ask one all the same.

        Raises what failed.
        """
        unavailable = isinstance(error, UpstreamUnavailable) and not isinstance(error, NotLoaded)
        unasked = unavailable and not exchange.account.attempts
        failure = await self.to(exchange, pool, guess=True) if unasked else error
        if failure is not None:
            raise failure

    async def _attempts(
        self, exchange: Exchange, pool: ReplicaPool, untried: list[Upstream], now: float, guess: bool
    ) -> RequestError | None:
        account, demand, trace, failure = exchange.account, exchange.demand, exchange.client.trace, None
        tried: list[Upstream] = []
        pool.retries.deposit(now)
        for attempt in range(MAX_ATTEMPTS):
            route = pool.choose(untried, self.monotonic() if attempt else now, demand, guess)
            if route is None:
                break
            replica, exchange.answered = untried.pop(route.position), route.answered
            if route.routed is not None:
                account.routed(exchange.digest, demand, route.routed)
            account.attempts, account.replica, account.usage = account.attempts + 1, replica.name, None
            try:
                with route:
                    await (exchange.on(replica) if trace is None else trace.attempt(replica.name, exchange.on(replica)))
                if (usage := exchange.account.usage) is not None:
                    pool.estimator.settled(demand.size, usage.input_tokens, usage.output_tokens)
                return None
            except AnotherReplica as failed:
                failure = failed.error
                if exchange.client.started:
                    raise failure from failed
                if isinstance(failed, EngineLacks):
                    lost(pool.engines, replica, account.release.adapter)
                if isinstance(failed, EngineLacks) or isinstance(failure, IDLE):
                    account.dispatched_s = None
                else:
                    account.failed(self.monotonic() - exchange.started)
                tried.append(replica)
                untried = await self._again(exchange, pool, untried, tried, failed, guess)
                failure = failed.error
        if failure is None:
            return away(pool.replicas, self.monotonic())
        failure.retry_after = max(retry_after(pool.replicas, self.monotonic()), failure.retry_after or 0)
        return failure

    async def _again(
        self,
        exchange: Exchange,
        pool: ReplicaPool,
        untried: list[Upstream],
        tried: list[Upstream],
        failed: AnotherReplica,
        guess: bool,
    ) -> list[Upstream]:
        """Where a request may go on whose last attempt failed: none where nobody is left, or the retry budget is spent.

        Where none of those that are left works, and the last one could not be reached, broke off or lost the adapter,
        another one is told to load that. Not where it answered: an engine that fails at a prompt would have the adapter
        loaded everywhere, and for one that sheds load another one is told, but not waited for. Where it was lost and
        nobody loads it, that is the error.
        """
        adapter, found, now = exchange.account.release.adapter, pool.replicas, self.monotonic()
        if adapter is not None and not candidates(untried, now, guess)[0]:
            found = holders(pool.replicas, pool.engines, adapter)  # another request may have had it loaded meanwhile
            untried = [each for each in found if each not in tried]
        last = len(tried) == MAX_ATTEMPTS
        if candidates(untried, now, guess)[0]:
            return untried if not last and self._may_retry(pool) else []
        if adapter is None or adapter.path is None or isinstance(failed, EngineBroken):
            return []
        if isinstance(failed.error, UpstreamOverloaded):
            self._spread(exchange, pool, adapter, found, shed=True)
            return []
        lacks = isinstance(failed, EngineLacks)
        found = [each for each in found if not lacks or each is not tried[-1]]
        others = _others(pool, found)
        able, _ = candidates(pool.adapters.willing(others, adapter), now, guess=False)
        if last or not able or not self._may_retry(pool):
            return []
        try:
            await self._load(exchange, pool, adapter, found, guess=True)
        except NotLoaded as error:
            if lacks:
                failed.error = error
            others = [each for each in others if each not in tried]  # one that never said what it holds counts as one
        return list[Upstream](holders(others, pool.engines, adapter))

    async def _holders(
        self, exchange: Exchange, pool: ReplicaPool, adapter: AdapterConfig, guess: bool
    ) -> Sequence[Upstream]:
        """The replicas that hold the release's adapter; where none of them works, another one is told to load it."""
        if not pool.engines:
            return pool.replicas
        found = holders(pool.replicas, pool.engines, adapter)
        if found and (adapter.path is None or candidates(found, self.monotonic(), guess=False)[0]):
            return found
        try:
            await self._load(exchange, pool, adapter, found, guess)
        except NotLoaded:
            if not found:
                raise
        return holders(pool.replicas, pool.engines, adapter)

    async def _load(
        self, exchange: Exchange, pool: ReplicaPool, adapter: AdapterConfig, found: Sequence[Upstream], guess: bool
    ) -> None:
        """Have a replica load an adapter, none of those `found`; where that one does not, the next one is told.

        Those that did not load it lately come last, unless one of those found may be guessed at instead. Each gets
        `timeouts.load` for it, and none more than is left of the request's total. Raises NotLoaded with what the last
        one said.
        """
        others, failure = _others(pool, found), None
        last_resort = [] if guess and found else others
        request_id, timeouts = exchange.account.admitted.request_id, exchange.timeouts
        for _ in range(MAX_ATTEMPTS):
            asked = pool.adapters.willing(others, adapter) or last_resort
            route = pool.choose(asked, self.monotonic(), guess=not found)
            if route is None:
                break
            replica, left = asked[route.position], exchange.started + timeouts.total - self.monotonic()
            try:
                await pool.adapters.load(
                    replica, adapter, pool.engines, exchange.client, request_id, timeouts.load, left
                )
                return
            except NotLoaded as error:
                failure, last_resort = error, []
        if failure is not None:
            raise failure

    def _spread(
        self, exchange: Exchange, pool: ReplicaPool, adapter: AdapterConfig, holding: Sequence[Upstream], shed: bool
    ) -> None:
        """Where all that hold an adapter and work are full, one with room is told to load it too; nobody waits for it.

        They are full by the cap, or say so themselves: `shed`.
        """
        cap, now = UNBOUNDED if pool.queue is None else pool.queue.cap, self.monotonic()
        working, _ = candidates(holding, now, guess=False)
        if adapter.path is None or (not shed and any(_has_room(holding[at], cap) for at in working)):
            return
        roomy = [each for each in pool.adapters.willing(_others(pool, holding), adapter) if _has_room(each, cap)]
        route = pool.choose(roomy, now, guess=False)
        if route is not None:
            request_id, seconds = exchange.account.admitted.request_id, exchange.timeouts.load
            pool.adapters.spread(roomy[route.position], adapter, pool.engines, request_id, seconds)

    def _may_retry(self, pool: ReplicaPool) -> bool:
        """Failing over must not amplify load: neither that of a failing pool, nor that of a saturated one."""
        allowed = pool.retries.withdraw(self.monotonic())
        (self.telemetry.retries if allowed else self.telemetry.retries_denied).labels(pool.name).inc()
        return allowed


def _others(pool: ReplicaPool, found: Sequence[Upstream]) -> list[Replica]:
    """The engines of a pool without some of its replicas."""
    known = set(map(id, found))
    return [each for each in pool.engines if id(each) not in known]


def _has_room(replica: Upstream, cap: int) -> bool:
    """Whether a replica may get one request more."""
    return replica.in_flight + replica.before < cap


def _holding(queue: PoolQueue, adapter: AdapterConfig) -> Sequence[Upstream]:
    """The replicas of a pool that hold an adapter now."""
    return holders(queue.replicas, [each for each in queue.replicas if isinstance(each, Replica)], adapter)


def _settle(queue: PoolQueue, ticket: Ticket | None, account: Account, failure: RequestError | None) -> None:
    """What a request took of its team's share. It has no ticket where nobody has waited while it was in flight."""
    if ticket is None:
        return
    if (usage := account.usage) is not None:
        queue.settle(ticket, usage.input_tokens, usage.cached_tokens or 0, usage.output_tokens)
    elif account.attempts and not isinstance(failure, UpstreamOverloaded):  # nobody says: what was expected
        queue.settle(ticket, ticket.input_tokens, ticket.cached_tokens, ticket.output_tokens)
    else:  # engines shed it, or none was asked
        queue.settle(ticket, 0, 0, 0.0)
