"""What is served now, rebuilt from the stores when they change."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from gateway import changes
from gateway.config import Deployment, Release
from gateway.contracts.errors import ReleaseNotGated
from gateway.control_plane.gates import Gates
from gateway.costs import fleet
from gateway.policy.auth import KeyRecord, with_team
from gateway.policy.budgets import compiled
from gateway.policy.ceilings import may_answer
from gateway.policy.resolution import Snapshot
from gateway.policy.rules import Rulebook
from gateway.policy.tagging import Tagging
from gateway.serving import ReplicaPool, Serving
from gateway.settings.calendars import Regions
from gateway.stores.keys import KeyStore
from gateway.stores.releases import ReleaseStore
from gateway.upstreams.vllm import Replica

log = logging.getLogger("tollgate")

ALL_KEYS_S = 60.0
"""So often every key is read, and not only what changed: what a hand changed in the table counts within this time."""


def _largest(engines: Sequence[Replica]) -> int | None:
    """The most tokens that a request may have on any of the engines; None where one has not told."""
    told = [None if each.facts is None else each.facts.max_model_len for each in engines]
    return max((each for each in told if each is not None), default=None) if None not in told else None


class State:
    """Holds what is served. `refresh` may run in any thread: it replaces `serving` as a whole, one at a time.

    `on_rule_error` hears (model, rule) of each condition that could not be evaluated for a request.
    """

    def __init__(
        self,
        deployment: Deployment,
        keys: KeyStore,
        releases: ReleaseStore,
        clock: Callable[[], float],
        pools: Mapping[str, ReplicaPool],
        on_rule_error: Callable[[str, str], None] = lambda model, rule: None,
    ) -> None:
        self._deployment = deployment
        self._digest = changes.digest(deployment)
        self._rules = Rulebook(deployment.config, on_rule_error)
        self._budgets = compiled(deployment, fleet.rates(deployment.config, clock()))
        configured = deployment.config.regions != Regions()
        calendars = self._rules.calendars if configured else None
        self._tagging = Tagging(calendars, deployment.config.tags)
        self._pools = pools
        self._answering = {
            name: frozenset(each.pool for each in releases) for name, releases in may_answer(deployment).items()
        }
        self._keys = keys
        self._releases = releases
        self._clock = clock
        self._gates = Gates(deployment.config.enforcement, list(deployment.releases.values()), self._tell)
        self._told: set[str] = set()
        self._known: dict[str, KeyRecord] = {}
        self._seen: int | None = None
        self._all_at = clock()
        self._refreshing = threading.Lock()
        self.serving = self._build()

    @property
    def snapshot(self) -> Snapshot:
        """What decisions read."""
        return self.serving.snapshot

    def refresh(self) -> None:
        """Read the stores again. Raises what they raise; what is served stays until it succeeds."""
        with self._refreshing:  # else what was read first might be stored last
            self.serving = self._build()

    def promote(self, name: str) -> Release:
        """Make a release the live one of its model. Raises ReleaseNotGated when its gate is closed in `require` mode.

        The store is written first and the snapshot follows, here and in every gateway on the same database.
        """
        release = self._deployment.releases.get(name)
        if release is None:
            known = ", ".join(sorted(self._deployment.releases))
            raise ReleaseNotGated(f"no release {name!r} in this configuration; known: {known}")
        mode = self._deployment.config.enforcement.mode
        now = self._clock()
        refusal = None if mode == "off" else self.snapshot.gates[name].explained(now)
        if refusal is not None and mode == "require":
            raise ReleaseNotGated(refusal)
        self._releases.promote(release.model, release.name, release.digest, now)
        self.refresh()
        return release

    def _build(self) -> Serving:
        config = self._deployment.config
        self._read_keys()
        self._rules.prepare(self._clock())
        snapshot = Snapshot(
            keys=self._known,
            releases=self._deployment.releases,
            live=self._live(),
            gates=self._gates.look(self._clock()),
            mode=config.enforcement.mode,
            fallbacks={name: model.fallback for name, model in config.models.items() if model.fallback},
            rules=self._rules,
        )
        if self._budgets is not None:
            self._budgets.contexts = self._contexts()
        prices = self._deployment.prices
        for problem in prices.absent(self._clock()):
            self._tell(f"requests are not priced now, and their rows say `unpriced`: {problem}")
        return Serving(
            snapshot=snapshot,
            pools=self._pools,
            prices=prices,
            limits=config.limits,
            timeouts=config.timeouts,
            digest=self._digest,
            budgets=self._budgets,
            tagging=self._tagging,
        )

    def _read_keys(self) -> None:
        """What changed of them, and now and then all: there may be many, and this runs all the time.

        What a key resolves to is worked out when it is new or changed.
        """
        now = self._clock()
        found = self._keys.changed(self._seen) if 0 <= now - self._all_at < ALL_KEYS_S else None
        everything = found is None or self._seen is None
        if found is None:
            found = self._keys.changed(None) or (0, [])
        kept, (self._seen, records) = self._known, found
        new = {record.id: self._with_team(record) for record in records if kept.get(record.id) != record}
        if everything:
            self._all_at = now
            self._known = {record.id: new.get(record.id) or kept[record.id] for record in records}
        elif new:
            self._known = kept | new

    def _contexts(self) -> dict[str, int | None]:
        """The largest context of any engine that may answer for a model; None where one has not told its own."""
        pools = {name: _largest(pool.engines) for name, pool in self._pools.items()}
        found = dict[frozenset[str], int | None]()
        for answering in set(self._answering.values()):
            told = [pools.get(pool) for pool in answering]
            known = [each for each in told if each is not None]
            found[answering] = max(known) if known and len(known) == len(told) else None
        return {name: found[answering] for name, answering in self._answering.items()}

    def _with_team(self, record: KeyRecord) -> KeyRecord:
        config = self._deployment.config
        team, wanted = config.teams.get(record.team), record.priority_class
        if wanted is not None and wanted not in config.classes:
            known = ", ".join(sorted(config.classes))
            self._tell(f"key {record.id!r} is of the class {wanted!r}, which is not in this configuration: {known}")
        return with_team(record, team, config.classes)

    def _live(self) -> dict[str, str]:
        live = self._deployment.defaults
        for model, (name, digest) in self._releases.promoted().items():
            release = self._deployment.releases.get(name)
            if model in live and release is not None and release.digest == digest:
                live[model] = name
            elif model in live:
                self._tell(f"{name!r} ({digest}) was promoted and is not in this configuration: {live[model]!r} serves")
        return live

    def _tell(self, message: str) -> None:
        """Log a warning once, not at every refresh."""
        if message not in self._told:
            self._told.add(message)
            log.warning(message)
