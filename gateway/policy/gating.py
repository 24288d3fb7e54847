"""Whether a release may serve: an unexpired verdict, signed by a trusted key, for exactly its digest."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.contracts.verdict import ADMITTED, CLOCK_SKEW, Verdict


@dataclass(frozen=True, slots=True)
class Gate:
    """What the verdicts say about one release.

    `refusal` is None when traffic may reach it; then `expires_at` (seconds since the epoch) says until when. `problems`
    are files that might have held a verdict on it, had they been good.
    """

    refusal: str | None
    answer: str | None = None
    expires_at: float | None = None
    problems: tuple[str, ...] = ()

    def closed(self, now: float) -> str | None:
        """Why the gate is closed at a moment; None while it is open."""
        if self.refusal is not None:
            return self.refusal
        if self.expires_at is None or self.expires_at <= now:
            return "its verdict has expired: run `evals gate` again"
        return None

    def explained(self, now: float) -> str | None:
        """The same for an operator: with the verdict files that were ignored, which a client has no business to see."""
        refusal = self.closed(now)
        if refusal is None:
            return None
        return refusal + "".join(f" (ignored: {problem})" for problem in self.problems)


def judge(release: str, digest: str, verdicts: Sequence[Verdict], problems: Sequence[str], now: datetime) -> Gate:
    """The gate of a release. Of several verdicts on one digest the latest counts: a later `fail` ends a `pass`.

    Of two of the same moment the refusing one counts.

    `verdicts` are verified ones; `problems` say which files were not, and why.
    """
    about = [verdict for verdict in verdicts if verdict.release_digest == digest]
    if not about:
        return Gate(f"{release!r} ({digest}) has no verdict: run `evals gate` on it first", problems=tuple(problems))
    latest = max(about, key=lambda each: (each.predicate.created, each.predicate.verdict not in ADMITTED))
    answer, expires = latest.predicate.verdict, latest.predicate.expires.astimezone(UTC)
    refusal = latest.refusal(digest, now)
    if refusal is not None:
        return Gate(f"{release!r} may not serve: {refusal}", answer, expires.timestamp())
    return Gate(None, answer, expires.timestamp())


def by_digest(verdicts: Iterable[Verdict]) -> Mapping[str, Sequence[Verdict]]:
    """Digest of a release to the verdicts that are about it."""
    found = dict[str, list[Verdict]]()
    for verdict in verdicts:
        found.setdefault(verdict.release_digest, []).append(verdict)
    return found


def unchanged_until(verdicts: Iterable[Verdict], now: datetime) -> float:
    """The moment after `now` at which time alone changes what is judged, in seconds since the epoch; inf where none is.

    A verdict expires, or no longer lies in the future.
    """
    moments = (m for each in verdicts for m in (each.predicate.expires, each.predicate.created - CLOCK_SKEW))
    return min((moment.timestamp() for moment in moments if moment > now), default=math.inf)
