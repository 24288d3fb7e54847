"""Registration: an engine that was just seen up, at first or again, is asked what it is.

Its fingerprint stands in completions alone, so it is asked for one token. That costs GPU time like any request, and is
accounted like one: one row, with the purpose `probe`, that a sum over the ledger contains and a filter finds.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from gateway.config import Release
from gateway.contracts.errors import RequestError, UpstreamFailed, UpstreamTimeout
from gateway.contracts.ledger import COMPLETED, GATEWAY_LOST, LedgerRow
from gateway.contracts.prices import PriceBook
from gateway.contracts.usage import Usage, from_openai, with_times
from gateway.control_plane.probes import ProbeFailed, ask
from gateway.policy.accounting import Account
from gateway.policy.facts import Facts, differences, disagreements, json_object, read_facts, untold
from gateway.settings.health import Health
from gateway.stores.spool import Spool
from gateway.telemetry import Telemetry
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.vllm import Replica, exchange, translate

NOBODY, TEAM = "-", "tollgate"
"""The key and the team of what the gateway asks for itself."""
COMPLETIONS = "/v1/completions"
FINGERPRINT_S = 30.0
"""How long one token may take: a busy engine has a queue."""
LARGEST = 1024 * 1024

log = logging.getLogger("tollgate")


async def ask_facts(replica: Replica, seconds: float) -> Facts:
    """Everything but the fingerprint. A page that does not exist says nothing. Raises ProbeFailed."""
    pages = []
    for path in ("/version", "/v1/models", "/metrics"):
        status, body = await ask(replica, path, seconds)
        pages.append(body if status == 200 else b"")
    return read_facts(*pages)


@dataclass(frozen=True)
class Engines:
    """The engines of one pool, the releases that they run, and the name by which they are asked for them."""

    pool: str
    replicas: Sequence[Replica]
    releases: Sequence[Release]
    served_model: str | None


@dataclass(frozen=True)
class Registration:
    """The loop's round. `engines` and `prices` are those of now; clocks and the source of ids are arguments."""

    engines: Callable[[], Iterable[Engines]]
    prices: Callable[[], PriceBook]
    settings: Health
    spool: Spool
    telemetry: Telemetry
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    new_id: Callable[[], str]

    async def round(self) -> None:
        """Register the replicas that arrived since the last round, all at the same time."""
        arrived = ((each, [replica for replica in each.replicas if self._is_new(replica)]) for each in self.engines())
        await asyncio.gather(*(self._pool(engines, new) for engines, new in arrived if new))

    async def _pool(self, engines: Engines, new: Sequence[Replica]) -> None:
        done = await asyncio.gather(*(self._register(replica, engines) for replica in new))
        if any(done):
            known = [(each.name, each.facts) for each in engines.replicas if each.facts is not None]
            for found in disagreements(known):
                log.warning("pool %r: %s", engines.pool, found)

    def _is_new(self, replica: Replica) -> bool:
        """A sleeper is asked when it wakes, and a draining one gets no new request."""
        vitals = replica.vitals
        usable = vitals.up and vitals.accepts and vitals.breaker.closed
        return usable and vitals.arrivals > vitals.registered

    async def _register(self, replica: Replica, engines: Engines) -> bool:
        arrival, releases = replica.vitals.arrivals, engines.releases
        try:
            facts = await ask_facts(replica, self.settings.timeout)
        except ProbeFailed as error:
            log.info("replica %r could not be registered and is asked again: %s", replica.name, error)
            return False
        if self.settings.fingerprint and releases and all(_generates(each) for each in releases):
            fingerprint, usage = await self._fingerprint(replica, *_base(releases, facts, engines.served_model))
            facts = replace(facts, fingerprint=fingerprint)
            if usage is not None:
                facts = replace(facts, times=usage.times is not None, cached=usage.cached_tokens is not None)
        replica.facts, replica.vitals.registered = facts, arrival
        _tell(replica.name, facts)
        for release in releases:
            loadable = release.adapter is not None and release.adapter.path is not None
            called = None if loadable else release.called(engines.served_model)
            for found in differences(facts, release.manifest, called, release.adapter):
                log.warning("replica %r: %s", replica.name, found)
        return True

    async def _fingerprint(self, replica: Replica, release: Release, called: str) -> tuple[str | None, Usage | None]:
        """Ask for one token, in the name of a release of the pool; exactly one row, whatever becomes of it."""
        book, started = self.prices(), self.monotonic()
        account = _account(self.new_id(), self.clock(), release, book)
        account.replica, account.attempts, account.dispatched_s = replica.name, 1, 0.0
        self.spool.admit(account.admitted)
        try:
            return await _one_token(replica, account, called), account.usage
        except RequestError as error:
            account.outcome, account.status = error.code, error.status
            log.warning("replica %r does not tell its fingerprint: %s", replica.name, error)
            return None, None
        finally:
            row = account.settled(book, self.monotonic() - started)
            self.spool.settle(row)
            self.telemetry.settled(row)


def _base(releases: Sequence[Release], facts: Facts, served_model: str | None) -> tuple[Release, str]:
    """(release, name) to ask an engine by: of its base model, since an adapter may not be loaded yet."""
    release = next((each for each in releases if each.adapter is None), None)
    if release is not None:
        return release, release.called(served_model)
    return releases[0], served_model or (facts.models[0] if facts.models else releases[0].model)


def _generates(release: Release) -> bool:
    """Whether the release's engine answers completions, by its flags: one that pools or embeds would refuse."""
    return release.manifest.engine.flags.get("runner") != "pooling"


def _account(request_id: str, now: float, release: Release, book: PriceBook) -> Account:
    return Account(
        LedgerRow(
            request_id=request_id,
            started_at=now,
            key_id=NOBODY,
            team=TEAM,
            purpose="probe",
            model=release.model,
            release=release.name,
            release_digest=release.digest,
            endpoint=COMPLETIONS,
            stream=False,
            outcome=GATEWAY_LOST,
            status=0,
            currency=book.currency,
            price_version=book.version,
        ),
        release,
    )


async def _one_token(replica: Replica, account: Account, model: str) -> str | None:
    """The fingerprint in a completion of one token, with the account told of it. Raises RequestError."""
    body = msgspec.json.encode({"model": model, "prompt": "Hello", "max_tokens": 1, "temperature": 0})
    data = replica.request(COMPLETIONS, body, b"application/json", account.admitted.request_id)
    try:
        with replica:
            async with asyncio.timeout(FINGERPRINT_S):
                status, answer = await exchange(replica, data, FINGERPRINT_S, LARGEST)
    except TimeoutError as error:
        raise UpstreamTimeout(f"no token within {FINGERPRINT_S:g} s") from error
    except ExchangeError as error:
        raise UpstreamFailed(str(error)) from error
    if status != 200:
        raise translate(status, answer, 1)
    told = json_object(answer)
    account.usage = with_times(from_openai(told.get("usage")), told.get("metrics"))
    account.outcome, account.status = COMPLETED, 200
    fingerprint = told.get("system_fingerprint")
    return fingerprint if isinstance(fingerprint, str) else None


def _tell(name: str, facts: Facts) -> None:
    """One line of what the engine is, and one of what it lacks."""
    log.info(
        "replica %r is vLLM %s, fingerprint %s, max_model_len %s, models %s, adapters %s",
        name,
        facts.version or "of unknown version",
        facts.fingerprint or "unknown",
        facts.max_model_len or "unknown",
        ", ".join(facts.models) or "none",
        ", ".join(facts.adapters) or "none",
    )
    if facts.missing:
        log.warning("replica %r lacks metrics that Tollgate reads: %s", name, ", ".join(facts.missing))
    for lacking in untold(facts.times, facts.cached):
        log.warning("replica %r does not tell %s", name, lacking)
