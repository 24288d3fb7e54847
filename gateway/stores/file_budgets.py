"""The book of budgets of several processes on one machine: a small SQLite file that all of them open.

Its folder lives as long as the processes do, so that nothing in it has to survive the machine. A lock on a file beside
it orders the writers: SQLite's own would make the second one sleep for a millisecond, where a transaction takes some
microseconds. Whatever dies lets the lock go.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.policy.budgets import TAKEN, Charge, Claim, Outcome, Short, Standing
from gateway.stores.budget_book import BookAway, OnSpent

_TABLES = """
CREATE TABLE IF NOT EXISTS counters (id TEXT PRIMARY KEY, spent INTEGER NOT NULL, corrected INTEGER NOT NULL,
    reserved INTEGER NOT NULL, at REAL NOT NULL, keep_until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (lease TEXT NOT NULL, counter TEXT NOT NULL, amount INTEGER NOT NULL,
    ends REAL NOT NULL, PRIMARY KEY (lease, counter)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS leases_by_end ON leases (ends);
"""
_SEEN = "SELECT spent + corrected, reserved FROM counters WHERE id = ?"
_TAKE = "UPDATE counters SET reserved = reserved + ? WHERE id = ?"
_LEASE = "INSERT INTO leases VALUES (?, ?, ?, ?)"
_LEAVE = "DELETE FROM leases WHERE lease = ? RETURNING amount"
_CHARGE = "UPDATE counters SET spent = spent + ?, reserved = reserved - ? WHERE id = ? RETURNING spent + corrected"


class FileBook:
    """`monotonic` in seconds of a clock that is the same for all processes of the machine, `clock` since the epoch."""

    def __init__(
        self, path: Path, monotonic: Callable[[], float], clock: Callable[[], float], on_spent: OnSpent
    ) -> None:
        self._monotonic, self._clock, self._on_spent = monotonic, clock, on_spent
        self._lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._late: list[tuple[str, Sequence[Charge]]] = []
        with self._locked():
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=OFF")  # the file does not outlive its processes
            self._file.executescript(_TABLES)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction. Raises BookAway when the file cannot be written, and then nothing of it is."""
        with self._locked():
            try:
                self._file.execute("BEGIN IMMEDIATE")
                yield self._file
                self._file.execute("COMMIT")
            except sqlite3.Error as error:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                raise BookAway(f"the file of budgets cannot be written: {error}") from error

    async def reserve(self, lease: str, claims: Sequence[Claim], seconds: float) -> Outcome:
        """Take the claims: all, or none."""
        self._catch_up()
        with self._writing() as file:
            now = self._monotonic()
            outcome = _judge(file, claims)
            if outcome.short and _expire(file, now):
                outcome = _judge(file, claims)
            if outcome.taken:
                for claim in claims:
                    file.execute(_TAKE, (claim.amount, claim.counter))
                    file.execute(_LEASE, (lease, claim.counter, claim.amount, now + seconds))
        return outcome

    def settle(self, lease: str, charges: Sequence[Charge]) -> None:
        """Put what it did cost in the place of what was reserved; when the file cannot be written, a little later."""
        self._late.append((lease, charges))
        try:
            self._catch_up()
        except BookAway:
            return

    def _catch_up(self) -> None:
        while self._late:
            lease, charges = self._late[0]
            with self._writing() as file:
                held = bool(file.execute(_LEAVE, (lease,)).fetchall())
                told = []
                for charge in charges:
                    row = file.execute(_CHARGE, (charge.cost, charge.held if held else 0, charge.counter)).fetchone()
                    if row is not None and charge.cost:
                        told.append((charge.counter, row[0] - charge.cost, row[0]))
            del self._late[0]
            for each in told:
                self._on_spent(*each)

    async def load(self, counter: str, spent: int, at: float, keep_until: float) -> None:
        """Begin a counter, and forget those of windows long over."""
        with self._writing() as file:
            file.execute("DELETE FROM counters WHERE keep_until <= ?", (self._clock(),))
            # SQLite reads infinity as it is; a total budget is kept for ever.
            row = (counter, spent, 0, 0, at, keep_until)
            file.execute("INSERT INTO counters VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)

    async def correct(self, counter: str, corrected: int) -> None:
        """What the ledger adds."""
        with self._writing() as file:
            found = file.execute("SELECT spent + corrected, spent FROM counters WHERE id = ?", (counter,)).fetchone()
            file.execute("UPDATE counters SET corrected = ? WHERE id = ?", (corrected, counter))
        if found is not None:
            self._on_spent(counter, found[0], found[1] + corrected)

    async def standings(self, counters: Sequence[str]) -> list[tuple[Standing, float] | None]:
        """How counters stand."""
        query = "SELECT spent, reserved, corrected, at FROM counters WHERE id = ?"
        with self._writing() as file:
            _expire(file, self._monotonic())
            rows = [file.execute(query, (counter,)).fetchone() for counter in counters]
        return [None if row is None else (Standing(*row[:3]), row[3]) for row in rows]

    async def close(self) -> None:
        """Write what is settled, and let go."""
        try:
            self._catch_up()
        except BookAway:
            self._late.clear()
        self._file.close()
        os.close(self._lock)


def _judge(file: sqlite3.Connection, claims: Sequence[Claim]) -> Outcome:
    """What would become of the claims."""
    short: list[Short] = []
    unknown: list[int] = []
    for at, claim in enumerate(claims):
        row = file.execute(_SEEN, (claim.counter,)).fetchone()
        if row is None:
            unknown.append(at)
        elif row[0] + row[1] + claim.amount > claim.limit:
            short.append(Short(at, row[0], row[1]))
    if unknown:
        return Outcome(False, unknown=tuple(unknown))
    return Outcome(not any(claims[each.at].hard for each in short), tuple(short)) if short else TAKEN


def _expire(file: sqlite3.Connection, now: float) -> bool:
    """End the leases that ran out; whether there were any."""
    gone = file.execute("DELETE FROM leases WHERE ends <= ? RETURNING amount, counter", (now,)).fetchall()
    for amount, counter in gone:
        file.execute("UPDATE counters SET reserved = reserved - ? WHERE id = ?", (amount, counter))
    return bool(gone)
