"""The verdict: what a gate decided about exactly one release digest, as an in-toto Statement.

    {"_type": "https://in-toto.io/Statement/v1",
     "subject": [{"name": "faq@2", "digest": {"sha256": "…"}}],
     "predicateType": "urn:tollgate:verdict:v1",
     "predicate": {"verdict": "pass", "created": …, "expires": …, "gate": …, "metrics": [...]}}

`attestation` puts it in a signed envelope. This module only knows what it says.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from gateway.contracts import canonical, documents
from gateway.contracts.errors import VerdictError
from gateway.contracts.release import Digest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:tollgate:verdict:v1"

Answer = Literal["pass", "fail", "inconclusive", "invalid", "waived"]
Test = Literal["noninferior", "absolute", "ratio", "max_failures", "golden"]
Tier = Literal["critical", "supporting", "advisory"]
"""`critical` has to pass, `supporting` must not fail (inconclusive will do), `advisory` is told and decides nothing."""
ADMITTED: frozenset[str] = frozenset({"pass", "waived"})
"""The answers that let traffic reach a release."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far the harness's clock may run ahead of the gateway's."""

Moment = Annotated[datetime, Field(description="UTC, with its offset")]


class Reference(documents.Frozen):
    """A thing the verdict rests on: its name and the digest of its bytes or of its canonical JSON."""

    name: str
    digest: Digest


class MetricResult(documents.Frozen):
    """One metric's test.

    Scores and the estimate are in the metric's own unit, higher is better. For `noninferior` the estimate is candidate
    minus baseline and passes when `lower >= -margin`; for `absolute` it is the candidate's mean and passes when
    `lower >= at_least`. For `ratio`, lower is better: the estimate is candidate over baseline and passes when
    `upper <= max_ratio`, and the two scores are the quantities themselves (seconds, money, tokens). For `max_failures`
    the estimate is the share of failed samples, `failures` their number. For `golden`, `failures` are the samples that
    regressed, and `max_failures` how many may. `lower` and `upper` are one-sided bounds, each at confidence 1 - alpha.
    None: unknowable.
    """

    metric: str
    test: Test
    verdict: Answer
    reason: str
    owner: str = ""
    tier: Tier = "critical"
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    margin: float | None = None
    at_least: float | None = None
    max_ratio: float | None = None
    max_failures: int | None = None
    failures: int | None = None
    alpha: float
    samples: int
    clusters: int
    missing_candidate: int = 0
    missing_baseline: int = 0
    candidate_score: float | None = None
    baseline_score: float | None = None
    planned_power: float | None = None
    samples_needed: int | None = None


class Waiver(documents.Frozen):
    """Somebody answers for a metric that did not pass: who, why, and until when. `test` tells equal names apart."""

    metric: str
    test: Test | None = None
    owner: str
    reason: str
    expires: Moment


class Predicate(documents.Frozen):
    """What was decided, on what, until when. `judges` are the cards of the judges whose opinion was counted."""

    verdict: Answer
    reason: str
    created: Moment
    expires: Moment
    gate: Reference
    suite: Reference
    dataset: Reference
    candidate_run: Reference
    baseline: Reference | None = None
    baseline_run: Reference | None = None
    metrics: tuple[MetricResult, ...]
    judges: tuple[Reference, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    engine_fingerprints: tuple[str, ...] = ()
    harness: str

    @model_validator(mode="after")
    def _coherent(self) -> "Predicate":
        for moment in (self.created, self.expires, *(waiver.expires for waiver in self.waivers)):
            if moment.tzinfo is None:
                raise ValueError("created and expires need a time zone offset, such as 2026-11-22T12:00:00Z")
        if self.expires <= self.created:
            raise ValueError("expires must lie after created")
        if self.verdict in ADMITTED:
            self._admissible()
        return self

    def _admissible(self) -> None:
        """What lets traffic reach a release has to follow from its metrics, whoever signed it."""
        critical = [m.verdict for m in self.metrics if m.tier == "critical"]
        supporting = [m.verdict for m in self.metrics if m.tier == "supporting"]
        waived = [m for m in self.metrics if m.verdict == "waived"]
        if not critical or not ADMITTED.issuperset(critical):
            raise ValueError(
                f"a verdict of {self.verdict} needs at least one critical metric, and each of them to pass"
            )
        if "fail" in supporting or any(m.verdict == "invalid" for m in self.metrics):
            raise ValueError(f"a verdict of {self.verdict} needs no supporting metric to fail, and none to be invalid")
        if bool(waived) != (self.verdict == "waived") or bool(self.waivers) != bool(waived):
            raise ValueError(
                "a verdict is waived when a metric of it is, and then it carries the waiver; else it is pass"
            )
        for metric in waived:
            if not any(w.metric == metric.metric and w.test in (None, metric.test) for w in self.waivers):
                raise ValueError(f"the metric {metric.metric!r} is waived, and no waiver is about it")
        for waiver in self.waivers:
            if waiver.expires < self.expires:
                raise ValueError(f"the verdict outlives its waiver of {waiver.metric!r}")


class Verdict(documents.Frozen):
    """A predicate about one release."""

    release: str
    release_digest: Digest
    predicate: Predicate

    def statement(self) -> dict[str, Any]:
        """The in-toto Statement, as JSON values."""
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": self.release, "digest": {"sha256": self.release_digest.removeprefix("sha256:")}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": _without_unused(self.predicate),
        }

    def digest(self) -> str:
        """sha256 over the canonical JSON of the statement."""
        return canonical.digest(self.statement())

    def refusal(self, release_digest: str, now: datetime) -> str | None:
        """Why this verdict does not let traffic reach a release now; None when it does."""
        if self.release_digest != release_digest:
            return f"the verdict is about {self.release_digest}, not {release_digest}"
        if self.predicate.verdict not in ADMITTED:
            return f"the gate said {self.predicate.verdict!r}: {self.predicate.reason}"
        if self.predicate.created > now + CLOCK_SKEW:
            return f"the verdict is dated {self.predicate.created.isoformat()}, in the future: check both clocks"
        if self.predicate.expires <= now.astimezone(UTC):
            return f"the verdict expired at {self.predicate.expires.isoformat()}: run the gate again"
        return None


def _without_unused(predicate: Predicate) -> dict[str, Any]:
    """Its JSON values; what was added later stands there only where it is used, so that no older digest changes."""
    values = predicate.model_dump(mode="json")
    for name in ("judges", "waivers"):
        if not values[name]:
            del values[name]
    for result in values["metrics"]:
        for name, default in _LATER.items():
            if result[name] == default:
                del result[name]
    return values


_LATER = {"owner": "", "tier": "critical", "max_ratio": None, "max_failures": None, "failures": None}


def from_statement(statement: Mapping[str, Any]) -> Verdict:
    """Read a Statement with exactly one subject. Raises VerdictError when it is anything else."""
    if statement.get("_type") != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        found = f"{statement.get('_type')!r} / {statement.get('predicateType')!r}"
        raise VerdictError(f"expected an in-toto Statement of type {PREDICATE_TYPE!r}, found {found}")
    try:
        (subject,) = statement["subject"]
        return Verdict(
            release=subject["name"],
            release_digest=f"sha256:{subject['digest']['sha256']}",
            predicate=statement["predicate"],
        )
    except (KeyError, TypeError, ValueError) as error:
        detail = _first(error) if isinstance(error, ValidationError) else f"{type(error).__name__} {error}"
        raise VerdictError(f"the statement does not read as a verdict about one release: {detail}") from error


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
