"""Forward: one request to a pool, replica after replica, until one has answered or bytes have reached the client."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.contracts.errors import RequestError, UpstreamUnavailable
from gateway.policy.health import absence, retry_after
from gateway.relay import AnotherReplica, EngineLacks, Exchange
from gateway.serving import ReplicaPool
from gateway.telemetry import Telemetry
from gateway.upstreams.adapters import holders, lost
from gateway.upstreams.base import Upstream
from gateway.upstreams.vllm import Replica

MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Forwarding:
    """How requests reach replicas. `monotonic` in seconds."""

    telemetry: Telemetry
    monotonic: Callable[[], float]

    async def to(self, exchange: Exchange, pool: ReplicaPool) -> RequestError | None:
        """Try replicas, each at most once.

        Returns why none of them could answer, if so; raises what no other replica can mend, and every failure after the
        first byte.
        """
        account, failure = exchange.account, None
        adapter = account.release.adapter
        untried = list(pool.replicas) if adapter is None else await self._holders(exchange, pool)
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
                if adapter is not None and isinstance(failed, EngineLacks):
                    lost(pool.engines, replica, adapter)
        error = failure or UpstreamUnavailable(f"no replica takes requests: {absence(pool.replicas)}")
        error.retry_after = retry_after(pool.replicas, self.monotonic())
        return error

    async def _holders(self, exchange: Exchange, pool: ReplicaPool) -> list[Upstream]:
        """The replicas that hold the release's adapter; where none does, one is told to load it."""
        adapter = exchange.account.release.adapter
        if adapter is None or not pool.engines:
            return list(pool.replicas)
        found = holders(pool.replicas, pool.engines, adapter)
        chosen = None if found else pool.choose(pool.engines, self.monotonic())
        if chosen is None:
            return found
        replica: Replica = pool.engines[chosen]
        request_id, seconds = exchange.account.admitted.request_id, exchange.timeouts.first_byte
        await pool.adapters.load(replica, adapter, pool.engines, request_id, seconds)
        return holders(pool.replicas, pool.engines, adapter)

    def _may_retry(self, pool: ReplicaPool) -> bool:
        """Failing over must not amplify load: neither that of a failing pool, nor that of a saturated one."""
        allowed = pool.retries.withdraw(self.monotonic())
        (self.telemetry.retries if allowed else self.telemetry.retries_denied).labels(pool.name).inc()
        return allowed
