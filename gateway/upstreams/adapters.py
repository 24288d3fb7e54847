"""LoRA adapters: which replicas of a pool hold one, and loading it where a request needs it.

An engine says what it holds when it is registered. One that has not been asked yet may hold anything, so it counts. The
ranks of one engine hold the same: vLLM loads an adapter into all of them.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import TypeVar

import msgspec

from gateway.client import Client, ClientGone
from gateway.contracts.errors import RequestError, UpstreamUnavailable
from gateway.policy.facts import Facts, json_object, read_facts
from gateway.settings.replicas import AdapterConfig
from gateway.upstreams.base import Upstream
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.vllm import NOT_A_ROUTE, Replica, exchange, fetch, translate

LOAD = "/v1/load_lora_adapter"
LARGEST = 1024 * 1024
LOADED = b"has already been loaded"
"""What vLLM says, with status 400, of an adapter that it holds."""

SPREAD_S = 10.0
"""Between two times that one more replica is told to load an adapter: what the last load brought shows first."""
REFUSED_S = 60.0
"""So long after a load that failed others are asked first. Longer than `SPREAD_S`, or one is told each time."""

log = logging.getLogger("tollgate")
Each = TypeVar("Each", bound=Upstream)
Loading = tuple[Replica, asyncio.Task[None]]
"""Which replica loads, and the load."""


class NotLoaded(UpstreamUnavailable):
    """No replica holds an adapter, and none loads it."""


def holders(replicas: Sequence[Each], engines: Sequence[Replica], adapter: AdapterConfig) -> list[Each]:
    """Those of the replicas that hold an adapter, or have not said yet what they hold.

    One that has its name from another path does not: it would answer with other weights.
    """
    without = {id(each) for each in engines if each.facts is not None and not each.facts.holds(adapter)}
    return [each for each in replicas if id(each) not in without]


class Adapters:
    """The loads under way in one pool. `monotonic` in seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._loading: dict[AdapterConfig, Loading] = {}
        self._refused: dict[tuple[AdapterConfig, str], float] = {}
        """Until when an engine, by its URL, counts as one that does not load an adapter."""
        self._spread_at: dict[AdapterConfig, float] = {}
        self._stuck: set[AdapterConfig] = set()
        """Those whose last load in the background failed, which was said."""

    def willing(self, engines: Sequence[Replica], adapter: AdapterConfig) -> list[Replica]:
        """Those of the engines that did not fail to load an adapter lately."""
        now = self._monotonic()
        return [each for each in engines if self._refused.get((adapter, each.url), now) <= now]

    async def load(
        self,
        replica: Replica,
        adapter: AdapterConfig,
        engines: Sequence[Replica],
        client: Client,
        request_id: str,
        seconds: float,
        within: float,
    ) -> None:
        """Have a replica hold an adapter. Requests that need the same one wait for one load, whichever replica it is
        that loads it: a burst after a quiet time fills no more than one. An engine knows it by the first `request_id`.
        Nobody waits for one that is down or that left the pool, which may hang until its time is over.

        A load that begins here may take `seconds`, whoever waits for it; this request waits for `within` seconds at
        most. It goes on when its request ends: the next one will want it. Raises NotLoaded, and ClientGone as soon as
        the client leaves.
        """
        if adapter.path is None:
            raise NotLoaded(
                f"no replica holds the adapter {adapter.name!r}: start an engine with it, or give its `path`"
            )
        begun = self._loading.get(adapter)
        if begun is None or begun[0] not in engines or not begun[0].vitals.up:
            begun = self._begin(_load(replica, adapter, engines, request_id, seconds), replica, adapter)
        waiting = asyncio.shield(begun[1])

        def left(_: str) -> None:
            waiting.cancel()

        client.aborts(left)
        try:
            async with asyncio.timeout(within):
                await waiting
        except TimeoutError as error:
            raise NotLoaded(
                f"no replica holds the adapter {adapter.name!r}, and {begun[0].name!r} loads it for longer than this "
                "request may take"
            ) from error
        except asyncio.CancelledError:
            if client.gone:
                raise ClientGone from None
            raise
        except UpstreamUnavailable as error:
            raise NotLoaded(f"no replica holds the adapter {adapter.name!r}, and {error}") from error
        finally:
            client.aborts(None)

    def spread(
        self, replica: Replica, adapter: AdapterConfig, engines: Sequence[Replica], request_id: str, seconds: float
    ) -> None:
        """Have one more replica hold an adapter, whose holders are busy. Nobody waits for it, or hears that it failed.

        One at a time, and not soon after another: vLLM has room for few of them.
        """
        now = self._monotonic()
        if adapter in self._loading or now < self._spread_at.get(adapter, -math.inf) + SPREAD_S:
            return
        self._spread_at[adapter] = now

        def done(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is None:
                self._stuck.discard(adapter)
            elif adapter not in self._stuck:
                self._stuck.add(adapter)
                log.warning("no more replicas hold the adapter %r, whose own are busy: %s", adapter.name, error)

        self._begin(_load(replica, adapter, engines, request_id, seconds), replica, adapter)[1].add_done_callback(done)

    def _begin(self, load: Coroutine[None, None, None], replica: Replica, adapter: AdapterConfig) -> Loading:
        task = asyncio.create_task(load)
        begun = self._loading[adapter] = replica, task
        task.add_done_callback(self._done(replica.url, adapter))
        return begun

    def _done(self, url: str, adapter: AdapterConfig) -> Callable[[asyncio.Task[None]], None]:
        def done(task: asyncio.Task[None]) -> None:
            if self._loading.get(adapter, (None, None))[1] is task:
                del self._loading[adapter]
            now = self._monotonic()
            self._refused = {each: until for each, until in self._refused.items() if until > now}
            # Whoever waited was told of the exception, and nobody may have waited.
            if not task.cancelled() and task.exception() is not None:
                self._refused[adapter, url] = now + REFUSED_S

        return done


async def _load(
    replica: Replica, adapter: AdapterConfig, engines: Sequence[Replica], request_id: str, seconds: float
) -> None:
    refused = f"{replica.name!r} does not load it"
    try:
        async with asyncio.timeout(seconds):
            if not await _free(replica, adapter, engines, seconds):
                return
            body = msgspec.json.encode({"lora_name": adapter.name, "lora_path": adapter.path})
            data = replica.request(LOAD, body, b"application/json", request_id)
            status, answer = await exchange(replica, data, seconds, LARGEST)
            if status == 200:
                _hold(replica, engines, lambda facts: facts.loaded(adapter.name, adapter.path))
            elif LOADED in answer:  # somebody else had it loaded, from wherever
                _hold(replica, engines, lambda facts: facts.loaded(adapter.name, None))
                await _look(replica, engines, seconds)
                _refuse_another(replica, adapter)
    except TimeoutError as error:
        raise UpstreamUnavailable(f"{refused}: no answer within {seconds:g} s") from error
    except (ExchangeError, RequestError) as error:
        raise UpstreamUnavailable(f"{refused}: {error}") from error
    if status == 404 and json_object(answer).get("detail") == NOT_A_ROUTE:
        raise UpstreamUnavailable(f"{refused}: it was started without VLLM_ALLOW_RUNTIME_LORA_UPDATING=1")
    if status != 200 and LOADED not in answer:
        raise UpstreamUnavailable(f"{refused}: {translate(status, answer, 1).message}")
    log.info("replica %r loaded the adapter %r", replica.name, adapter.name)


async def _free(replica: Replica, adapter: AdapterConfig, engines: Sequence[Replica], seconds: float) -> bool:
    """Whether an adapter is to be loaded: no other one has its name there. What the engine said of that may be old."""
    if replica.facts is None or replica.facts.elsewhere(adapter) is None:
        return True
    await _look(replica, engines, seconds)
    _refuse_another(replica, adapter)
    return not replica.facts.holds(adapter)


def _refuse_another(replica: Replica, adapter: AdapterConfig) -> None:
    """Raises UpstreamUnavailable where an engine holds another adapter of that name.

    It is not replaced: requests that began with the one would end with the other, and what the engine's cache holds of
    prompts is the old one's.
    """
    origin = None if replica.facts is None else replica.facts.elsewhere(adapter)
    if origin is not None:
        raise UpstreamUnavailable(
            f"it has another one of that name, from {origin!r}: give the one from {adapter.path!r} a name of its own"
        )


async def _look(replica: Replica, engines: Sequence[Replica], seconds: float) -> None:
    """See anew which adapters an engine holds, and from where."""
    status, models = await fetch(replica, "/v1/models", seconds)
    if status == 200:
        found = read_facts(b"", models, b"")
        _hold(replica, engines, lambda facts: replace(facts, adapters=found.adapters, origins=found.origins))


def _hold(replica: Replica, engines: Sequence[Replica], change: Callable[[Facts], Facts]) -> None:
    for each in engines:
        if each.url == replica.url and each.facts is not None:
            each.facts = change(each.facts)


def lost(engines: Sequence[Replica], replica: Upstream, adapter: AdapterConfig | None) -> None:
    """A replica turned out not to hold an adapter: somebody unloaded it. It is said once, whoever else finds out."""
    for each in engines:
        if each is replica and each.facts is not None and adapter is not None and adapter.name in each.facts.adapters:
            log.warning("replica %r does not hold the adapter %r any more", each.name, adapter.name)
            each.facts = each.facts.unloaded(adapter.name)
