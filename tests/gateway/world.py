"""A gateway with its engines and clients, as a script has them, on the network of `virtual`."""

import asyncio
import itertools
import random
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.server import ServerState

from gateway.config import Limits, Timeouts
from gateway.contracts.ledger import LedgerRow
from gateway.contracts.prices import PriceBook
from gateway.data_plane import DataPlane
from gateway.forwarding import Forwarding
from gateway.policy.auth import still
from gateway.policy.health import LIMIT
from gateway.policy.limits import Admission
from gateway.policy.resolution import Snapshot
from gateway.policy.retries import RetryBudget
from gateway.policy.routing import POLICIES
from gateway.queueing import PoolQueue
from gateway.server.protocol import HttpProtocol
from gateway.serving import ReplicaPool, Serving
from gateway.settings.queue import QueueConfig
from gateway.stores.spool import Spool
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica
from tests.gateway import builders, visits
from tests.gateway.scripted import Behaviour, Engine, Exchange
from tests.gateway.virtual import Loop, turns
from tests.gateway.visits import Seen, Visit

TIMEOUTS = Timeouts(connect=1.0, first_byte=2.0, idle=2.0, total=5.0, client=1.0)
MODELS = {"main": "faq", "spare": "small", "last": "tiny"}
"""Each pool's model, and the next one is its fallback."""
VISITOR: ContextVar[str] = ContextVar("visitor")
"""The number of the visit whose request is on its way: it becomes the id of the request."""


@dataclass(frozen=True)
class Script:
    """A pool's replicas by what they do with connections and requests, the visits, and the retries that are allowed.

    `broken`: every replica is due for the trial of its breaker. `cap`: the requests that each replica gets at once; the
    next ones wait.
    """

    pools: dict[str, list[tuple[list[str], list[Behaviour]]]]
    visits: list[Visit]
    balance: float
    broken: bool = False
    cap: int | None = None


class Books(Spool):
    """A spool that remembers what it was told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "one", step_bytes=4096)
        self.admitted: list[str] = []
        self.settlements: list[LedgerRow] = []

    def admit(self, row: LedgerRow) -> None:
        super().admit(row)
        self.admitted.append(row.request_id)

    def settle(self, row: LedgerRow) -> None:
        super().settle(row)
        self.settlements.append(row)


class World:
    """A gateway, its engines and its clients, as a script has them."""

    def __init__(self, script: Script, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        self.script, self.telemetry, self.books = script, Telemetry(), Books(folder)
        self.engines: list[Engine] = []
        self.pools = {name: self._pool(loop, name) for name in script.pools}
        self.key, record = builders.key(rpm=10**6, tpm=10**9, concurrency=10**6)
        self.admission = Admission()
        releases = [builders.release(f"{model}@1", pool) for pool, model in MODELS.items()]
        snapshot = Snapshot(
            keys={record.id: record},
            releases={each.name: each for each in releases},
            live={each.model: each.name for each in releases},
            gates={},
            mode="off",
            fallbacks={"faq": ["small"], "small": ["tiny"]},
        )
        serving = Serving(snapshot, self.pools, PriceBook(version="none", models={}), Limits(), TIMEOUTS)
        self.plane = DataPlane(
            serving=lambda: serving,
            spool=self.books,
            telemetry=self.telemetry,
            admission=self.admission,
            budgeting=builders.budgeting(self.telemetry, loop.time, lambda: builders.NOW + loop.time()),
            forwarding=Forwarding(self.telemetry, loop.time, lambda who: still(who, snapshot.keys, builders.NOW)),
            clock=lambda: builders.NOW + loop.time(),
            monotonic=loop.time,
            new_id=VISITOR.get,
        )
        config = uvicorn.Config(self.plane, lifespan="off", log_config=None)
        config.load()
        self._server_state = ServerState()
        self.server = lambda: HttpProtocol(config, self._server_state, {}, direct=self.plane.serve)

    def _pool(self, loop: Loop, name: str) -> ReplicaPool:
        replicas = []
        for at, (connects, behaviours) in enumerate(self.script.pools[name]):
            host, address = f"{name}-{at}", f"192.0.2.{len(self.engines)}"  # a name would be looked up, in real time
            engine = Engine(host, itertools.cycle(connects), itertools.cycle(behaviours), self.script.visits)
            loop.hosts[address] = engine.accept
            self.engines.append(engine)
            replica = Replica(host, f"http://{address}", api_key=None, connect_s=TIMEOUTS.connect)
            replica.breaker.failures = LIMIT if self.script.broken else 0
            replicas.append(replica)
        policy, budget = POLICIES["score"], RetryBudget(self.script.balance, at=0.0)
        queue = PoolQueue(name, self.telemetry, loop.time, random.Random(0))
        queue.serve(QueueConfig(max_in_flight=self.script.cap, max_wait=1.5), {0: None}, replicas)
        return ReplicaPool(name, replicas, policy, None, engines=replicas, retries=budget, queue=queue)

    async def run(self) -> list[Seen]:
        """Play the script to its end; returns what each client saw."""
        seen = await asyncio.gather(*(self._visit(at, each) for at, each in enumerate(self.script.visits)))
        # Whoever was still being connected to an engine is given up at that limit.
        async with asyncio.timeout(2 * TIMEOUTS.connect):
            await asyncio.gather(*self._server_state.tasks)
        await turns(20)
        for replica in self.replicas:
            replica.close()
        await turns(20)
        return seen

    async def _visit(self, at: int, visit: Visit) -> Seen:
        VISITOR.set(str(at))
        return await visits.visit(visit, self.plane, self.server, self.key)

    @property
    def replicas(self) -> list[Replica]:
        """Of every pool."""
        return [replica for pool in self.pools.values() for replica in pool.engines]

    def exchanges(self, request_id: str) -> list[Exchange]:
        """What replicas saw of one request, in no order."""
        return [each for engine in self.engines for each in engine.exchanges if each.request_id == request_id]

    def counted(self, name: str, pool: str) -> float:
        """A counter of the gateway's metrics."""
        return self.telemetry.registry.get_sample_value(f"tollgate_{name}_total", {"pool": pool}) or 0.0
