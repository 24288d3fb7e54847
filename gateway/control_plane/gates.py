"""The gates of the releases, as the folder of verdicts has them."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gateway.config import Release
from gateway.contracts.errors import VerdictError
from gateway.contracts.verdict import Verdict
from gateway.policy.gating import Gate, by_digest, judge, unchanged_until
from gateway.settings.enforcement import Enforcement
from gateway.stores.verdicts import SUFFIX, read_verdicts

Mark = tuple[str, int, int]


class Gates:
    """Judged anew when a file or the time changes what they say: there may be a thousand, and this is asked all day.

    `tell` hears what is wrong, each time that it is found.
    """

    def __init__(self, enforcement: Enforcement, releases: Sequence[Release], tell: Callable[[str], None]) -> None:
        self._enforcement = enforcement
        self._releases = releases
        self._tell = tell
        self._listing: tuple[Mark, ...] | None = None
        self._verdicts: list[Verdict] = []
        self._problems: list[str] = []
        self._judged: Mapping[str, Gate] = {}
        self._since, self._until = 0.0, 0.0

    def look(self, now: float) -> Mapping[str, Gate]:
        """Release to gate at a moment, in seconds since the epoch. Raises VerdictError where nothing was ever read."""
        if self._enforcement.mode == "off":
            return {}
        listing = _listing(self._enforcement.verdicts)
        if (listing != self._listing and self._read(listing)) or not self._since <= now < self._until:
            self._judge(now)
        return self._judged

    def _read(self, listing: tuple[Mark, ...]) -> bool:
        """Read the verdicts anew. When a trusted key cannot be read nothing can be decided: what is known stays.

        Keys and promotions must not wait for that. At the start nothing is known, and the error is the caller's.
        """
        try:
            read = read_verdicts(self._enforcement.verdicts, self._enforcement.trusted_keys)
        except VerdictError as error:
            if self._listing is None:
                raise
            self._tell(f"verdicts are not read anew until this is mended: {error}")
            return False
        self._listing = listing
        self._verdicts, self._problems = read
        for problem in self._problems:
            self._tell(f"verdict ignored: {problem}")
        return True

    def _judge(self, now: float) -> None:
        moment, about = datetime.fromtimestamp(now, UTC), by_digest(self._verdicts)
        self._judged = {
            each.name: judge(each.name, each.digest, about.get(each.digest, ()), self._problems, moment)
            for each in self._releases
        }
        self._since, self._until = now, unchanged_until(self._verdicts, moment)


def _listing(folder: Path) -> tuple[Mark, ...]:
    """What tells that a file of a folder came, went or changed. A folder that does not exist has none.

    Raises OSError when it cannot be looked at now: that is no folder without verdicts.
    """
    try:
        with os.scandir(folder) as entries:
            return tuple(sorted(_mark(entry) for entry in entries if entry.name.endswith(SUFFIX)))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ()


def _mark(entry: os.DirEntry[str]) -> Mark:
    """Of a file that is not there, such as a link to nothing, that it is not."""
    try:
        stat = entry.stat()
    except OSError:
        return entry.name, 0, -1
    return entry.name, stat.st_mtime_ns, stat.st_size
