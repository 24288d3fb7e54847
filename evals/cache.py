"""Answers kept on disk, so that a changed scorer does not cost the answers again. Off unless a folder is named.

An entry's name is the sha256 of everything that changes an answer: the release's digest and the engine's fingerprint,
the whole request body (model, messages, tools, sampling parameters, seed), the epoch and the arm. Repeats of a question
are different entries, else many epochs would be one answer many times. What answers now is asked beforehand; when an
answer of the run shows that somebody else does, nothing more is taken for that arm.

Whole answers are stored, the cut-off ones too: a rerun that asked again for those alone would raise the score. Failures
never are. A hit says so (`Answer.cached`), took no time and cost nothing: scorers of latency and cost refuse it, and a
gate does unless it is told otherwise.

Each entry is one file, written beside its place and moved there: two runs may share a folder, a crash leaves no half of
an entry, and one that is damaged is as good as none.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from evals import whole
from evals.client import Result
from evals.schema import Answer, Arm
from gateway.contracts.errors import InputError

VERSION = "tollgate.cache/v1"
_DIGEST = 64


class Identity(msgspec.Struct, frozen=True):
    """Who answers: the digest of the release, and the engine's fingerprint where it gives one."""

    release_digest: str
    fingerprint: str | None


def identity(answer: Answer | None) -> Identity | None:
    """Who gave an answer; None when it does not name its release."""
    return Identity(answer.release_digest, answer.fingerprint) if answer and answer.release_digest else None


def key(who: Identity, arm: Arm, epoch: int, body: bytes) -> str:
    """The name of an entry, 64 hexadecimal digits. Every part that changes an answer changes it."""
    parts = [VERSION, who.release_digest, who.fingerprint, arm, epoch, body.decode()]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


class NoCache:
    """Nothing is kept: every answer is asked for."""

    def get(self, arm: Arm, epoch: int, body: bytes) -> Answer | None:
        """Nothing."""
        return None

    def put(self, arm: Arm, epoch: int, body: bytes, result: Result) -> None:
        """Nothing is kept."""


class Cache(NoCache):
    """A folder of answers. `now` says who answers each arm at the start; `say` hears of what ends its use."""

    def __init__(self, folder: Path, now: Mapping[Arm, Identity | None], say: Callable[[str], None]) -> None:
        """Raises InputError for a folder that cannot be made."""
        self._folder, self._say, self.hits = folder, say, 0
        self._now: dict[Arm, Identity] = {arm: who for arm, who in now.items() if who is not None}
        for arm in (arm for arm, who in now.items() if who is None):
            say(f"--cache: the {arm}'s answers name no release digest, so none is taken or kept: run through a gateway")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--cache: {str(folder)!r} cannot be made: {error.strerror}") from error

    def get(self, arm: Arm, epoch: int, body: bytes) -> Answer | None:
        """The answer that was kept, marked as cached; None when there is none, or one that cannot be read."""
        who = self._now.get(arm)
        if who is None:
            return None
        try:
            content = self._path(key(who, arm, epoch, body)).read_bytes()
        except OSError:
            return None
        check, stored = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(stored).hexdigest().encode() != check:
            return None
        self.hits += 1
        answer = msgspec.json.decode(stored, type=Answer)
        return msgspec.structs.replace(answer, cached=True, latency_s=0.0, cost=None)

    def put(self, arm: Arm, epoch: int, body: bytes, result: Result) -> None:
        """Keep a whole answer under the name of who gave it. Raises InputError when the disk does not take it."""
        who = identity(result.answer)
        if who is None or result.answer is None or result.failure is not None or result.answer.finish_reason is None:
            return
        if arm in self._now and self._now[arm] != who:
            del self._now[arm]
            self._say(
                f"--cache: another release or engine than before answers the {arm}: nothing more is taken from it"
            )
        stored = msgspec.json.encode(result.answer)
        path = self._path(key(who, arm, epoch, body))
        try:
            path.parent.mkdir(exist_ok=True)
            with whole.beside(path) as made:
                made.write_bytes(hashlib.sha256(stored).hexdigest().encode() + stored)
        except OSError as error:
            raise InputError(f"--cache: {str(path)!r} cannot be written: {error.strerror}") from error

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name[2:]
