"""A configuration that is followed while it serves: read again when its file, or a file that it names, changes.

Law 8: what does not validate changes nothing. The last good configuration keeps serving, the log names line and key
once, and the files are looked at again.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gateway import changes
from gateway import config as configuration
from gateway.config import Deployment
from gateway.contracts.errors import InputError
from gateway.logs import DEFECTS

LOOK_S = 0.4
"""Between two looks at the files. A change counts once two looks in a row agree: nobody reads half a file."""
AGAIN_S = 5.0
"""Between two readings of a configuration that was refused: what it lacks may be a file that it alone names."""

Mark = tuple[int, int, int]

log = logging.getLogger("tollgate")


@dataclass(frozen=True)
class Reading:
    """What a changed configuration came to: a deployment, or None for one that was refused."""

    deployment: Deployment | None


class Watch:
    """A configuration file and what it says. `deployment` is the last good one. Not thread-safe: one look at a time.

    Reads the file at once. Raises DocumentError with every mistake in it.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self._files = frozenset({path})
        self._read: dict[Path, Mark | None] = {}
        self._seen: dict[Path, Mark | None] = {}
        self._refusal = ""
        self._again_at = 0.0
        self.deployment = self._load()

    @property
    def refusal(self) -> str:
        """Why what is written now was refused; empty while the last reading was good."""
        return self._refusal

    def look(self, *, force: bool = False) -> Reading | None:
        """Read anew what has changed, or with `force` in any case. None when there is nothing to tell."""
        marks, before = self._marks(), self._seen
        self._seen = marks
        changed = marks != self._read and marks == before
        again = bool(self._refusal) and self._monotonic() >= self._again_at
        if not (force or changed or again):
            return None
        try:
            found = self._load()
        except InputError as error:
            news = force or changed or str(error) != self._refusal
            self._refusal, self._again_at = str(error), self._monotonic() + AGAIN_S
            if news:
                digest = changes.digest(self.deployment)
                log.error("the configuration is refused, and the last good one (%s) keeps serving: %s", digest, error)
            return Reading(None) if news else None
        self._refusal = ""
        return Reading(self._take(found))

    def _take(self, found: Deployment) -> Deployment:
        """The new deployment, without what a running gateway cannot follow."""
        old = self.deployment
        found_changes = changes.compare(old, found)
        kept = {key: getattr(old.config, key) for key in changes.AT_START_ONLY}
        new = dataclasses.replace(found, config=found.config.model_copy(update=kept))
        log.info(
            "configuration %s → %s: %s",
            changes.digest(old),
            changes.digest(new),
            changes.summary([change for change in found_changes if not change.needs_restart]),
        )
        for change in found_changes:
            if change.needs_restart:
                log.warning("restart the gateway for this change to count: %s", change)
        self.deployment = new
        return new

    def _load(self) -> Deployment:
        """Read the configuration. What is marked is marked before it is read, so that no later change is missed."""
        while True:
            marks = self._read = self._seen = self._marks()
            found = configuration.load(self._path, trust=True)
            for pool in found.config.pools.values():
                secrets = [replica.api_key for replica in pool.replicas]
                secrets += [] if pool.provider is None else [pool.provider.api_key]
                for secret in filter(None, secrets):
                    secret.read()
            self._files = frozenset({self._path, *_named(found)})
            if self._files <= marks.keys():
                return found

    def _marks(self) -> dict[Path, Mark | None]:
        return {path: _mark(path) for path in self._files}


async def follow(
    watch: Watch, asked: asyncio.Event, take: Callable[[Deployment | None], Awaitable[object]]
) -> NoReturn:
    """Hand every new deployment to `take`, None for one that was refused. Setting `asked` has it read now.

    `take` returns why it does not serve: the next change is one of what does.
    """
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), LOOK_S)
        force = asked.is_set()
        asked.clear()
        serves = watch.deployment
        try:
            reading = await asyncio.to_thread(watch.look, force=force)
        except (*DEFECTS, OSError):  # whatever is written there: what mends it has to be read too
            log.exception("a defect of the gateway: what is written now cannot be read, and the last good one serves")
            reading = Reading(None)
        if reading is not None and await take(reading.deployment) is not None:
            watch.deployment = serves


def _named(deployment: Deployment) -> Iterator[Path]:
    """The files that a configuration names. The folder of verdicts is watched by the state, verdict by verdict."""
    config = deployment.config.model_dump()
    del config["enforcement"]["verdicts"]
    return _paths(config)


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _paths(each)


def _mark(path: Path) -> Mark | None:
    """What tells that a file changed, or was put in another one's place. None for one that is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
