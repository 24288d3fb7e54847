"""What a run log proves: one unit for each sample, its score as an interval, and who answered.

A score that is known is an interval of one point. Missing evidence is [0, 1]. An error of the system is 0 for a
candidate; for a baseline it is [0, 1] as well: a baseline that failed must not make room for a worse candidate.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evals.dataset import whole_digest
from evals.lines import Record, Source
from evals.run_log import Log
from evals.schema import Arm, cluster_key

Role = Arm
"""As what a score is read. A run of the baseline alone is all of the arm `candidate`, and is read as the baseline."""
Interval = tuple[float, float]
UNKNOWN: Interval = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Unit:
    """One sample: the record that counts of each epoch. `cluster` is a key that no sample id can collide with."""

    id: str
    cluster: str
    tags: tuple[str, ...]
    records: tuple[Record, ...]
    epochs: int

    @property
    def missing(self) -> bool:
        """Whether evidence of any epoch is missing."""
        return len(self.records) < self.epochs or any(r.outcome == "harness_error" for r in self.records)

    def score(self, metric: str, role: Role) -> Interval:
        """The sample's score, averaged over epochs; in [0, 1]."""
        if self.epochs == 1 and len(self.records) == 1:
            return _score(self.records[0], metric, role)
        intervals = [_score(record, metric, role) for record in self.records]
        intervals += [UNKNOWN] * (self.epochs - len(self.records))
        return sum(low for low, _ in intervals) / self.epochs, sum(high for _, high in intervals) / self.epochs


@dataclass(frozen=True, slots=True)
class Evidence:
    """One arm of a log, read as evidence.

    `problems` say why it cannot carry a verdict, in sentences for people. `release` and `release_digest` are the values
    that every answer gave, None when the answers give none or differ.
    """

    log: Log
    units: dict[str, Unit]
    problems: tuple[str, ...]
    release: str | None
    release_digest: str | None
    fingerprints: tuple[str, ...]
    arm: Arm = "candidate"

    @property
    def cached(self) -> int:
        """How many answers came from the harness's own cache."""
        records = (record for unit in self.units.values() for record in unit.records)
        return sum(record.answer is not None and record.answer.cached for record in records)

    @property
    def retried(self) -> float:
        """The share of results that took more than one attempt."""
        attempts = [record.attempts for unit in self.units.values() for record in unit.records]
        return sum(count > 1 for count in attempts) / len(attempts) if attempts else 0.0

    @property
    def name(self) -> str:
        """The file of the log; with the arm, where it has two."""
        return f"{self.log.path.name}#{self.arm}" if self.log.manifest.baseline is not None else self.log.path.name

    @property
    def coverage(self) -> float:
        """The share of the data set's samples whose evidence is complete."""
        complete = sum(not unit.missing for unit in self.units.values())
        return complete / self.log.manifest.samples if self.log.manifest.samples else 0.0


def _score(record: Record, metric: str, role: Role) -> Interval:
    if record.outcome == "system_error" and role == "candidate":
        return 0.0, 0.0
    if record.outcome != "system_error" and metric in record.scores:
        value = record.scores[metric].value
        return (value, value) if 0.0 <= value <= 1.0 else UNKNOWN  # NaN is neither; `gather` names it as a problem
    return UNKNOWN


def arm_as(log: Log, role: Role) -> Arm:
    """The arm of a log that plays a role: of a run with two arms its namesake, of any other run its only one."""
    return role if log.manifest.baseline is not None else "candidate"


def gather(log: Log, arm: Arm = "candidate") -> Evidence:
    """Read one arm of a log as evidence. Never raises: what is wrong with it is in `problems`."""
    problems: list[str] = []
    ours = [record for record in log.records if record.arm == arm]
    if any(record.arm not in log.manifest.arms() for record in log.records) or arm not in log.manifest.arms():
        problems.append("the log's manifest names no baseline, and results of one were found or asked for")
    chosen = _chosen(ours, problems)
    by_id: dict[str, list[Record]] = {}
    for (sample_id, _), record in sorted(chosen.items()):
        by_id.setdefault(sample_id, []).append(record)
    units = {sample_id: _unit(sample_id, records, log.manifest.epochs) for sample_id, records in by_id.items()}
    problems += _complete(log, chosen, {r.id: r.digest for r in chosen.values()})
    if unpaid := sum(r.failure is not None and r.failure.kind == "over_budget" for r in chosen.values()):
        problems.append(
            f"the run stopped at its spending cap with {unpaid} results to go: run it again with the same --out and "
            "a higher --max-cost"
        )
    release, release_digest = _identity(ours, problems, log.manifest.imported)
    fingerprints = {r.answer.fingerprint for r in chosen.values() if r.answer and r.answer.fingerprint}
    return Evidence(log, units, tuple(problems), release, release_digest, tuple(sorted(fingerprints)), arm)


def _unit(sample_id: str, records: list[Record], epochs: int) -> Unit:
    first = records[0]
    return Unit(sample_id, cluster_key(sample_id, first.cluster), tuple(first.tags), tuple(records), epochs)


def _chosen(records: Iterable[Record], problems: list[str]) -> dict[tuple[str, int], Record]:
    """One record for each sample and epoch: evidence over missing evidence, wherever the two stand in the log."""
    chosen: dict[tuple[str, int], Record] = {}
    about: dict[str, tuple[str, str | None, list[str]]] = {}
    for record in records:
        key = (record.id, record.epoch)
        if about.setdefault(record.id, (record.digest, record.cluster, record.tags)) != (
            record.digest,
            record.cluster,
            record.tags,
        ):
            problems.append(f"sample {record.id!r} appears with two contents")
        if any(not 0.0 <= score.value <= 1.0 for score in record.scores.values()):
            problems.append(f"sample {record.id!r} has a score outside [0, 1]")
        before = chosen.get(key)
        if before is not None and "harness_error" not in (before.outcome, record.outcome):
            problems.append(f"sample {record.id!r}, epoch {record.epoch} has two results: which one counts is unknown")
        if before is None or before.outcome == "harness_error":
            chosen[key] = record
    return chosen


def _complete(log: Log, chosen: dict[tuple[str, int], Record], digests: dict[str, str]) -> list[str]:
    manifest, problems = log.manifest, []
    if not log.sealed:
        problems.append("the run is unfinished: run it again with the same --out, it goes on where it stopped")
    if manifest.limit is not None:
        problems.append(f"the run is partial (--limit {manifest.limit}): run the whole suite")
    elif log.sealed:
        if manifest.samples == 0:
            problems.append("the data set is empty")
        if len(chosen) != manifest.samples * manifest.epochs:
            wanted = manifest.samples * manifest.epochs
            problems.append(f"the log holds {len(chosen)} results of {wanted}: some samples left no record")
        elif whole_digest(digests) != manifest.dataset_sha256:
            problems.append("the samples in the log are not those of the data set that its manifest names")
    return problems


def _identity(records: Sequence[Record], problems: list[str], source: Source | None) -> tuple[str | None, str | None]:
    """The release and digest that the answers agree on; an error may come without either, a scored answer may not.

    Of imported results it is what the person who imported them says, if anything: without it there is no verdict.
    """
    releases: set[str] = set()
    digests: set[str] = set()
    unnamed = 0
    for record in records:
        answer = record.answer
        if answer is not None:
            releases |= {answer.release} if answer.release else set()
            digests |= {answer.release_digest} if answer.release_digest else set()
        if record.outcome == "scored" and (answer is None or not answer.release or not answer.release_digest):
            unnamed += 1
    if source is not None and not releases and not digests:
        return source.release, source.release_digest
    if not releases or not digests:
        answered = any(record.answer and (record.answer.text or record.answer.tool_calls) for record in records)
        problems.append(
            "the answers name no release and digest: run the suite through the gateway, which puts both on every answer"
            if answered
            else "no answer arrived, so that nothing says which release was asked"
        )
        return None, None
    if len(releases) > 1 or len(digests) > 1 or unnamed:
        listed = ", ".join([*sorted(releases), *sorted(digests)]) + (f", {unnamed} without either" if unnamed else "")
        problems.append(f"the run is mixed, several releases answered: {listed}; run against one pinned name")
        return None, None
    found = releases.pop(), digests.pop()
    if source is not None and (source.release or found[0], source.release_digest or found[1]) != found:
        problems.append(f"the answers name {' '.join(found)}, and were imported as those of {source.release}")
    return found


def rescored(candidate: Evidence, baseline: Evidence) -> list[str]:
    """The metrics whose scorers differ between two runs; none where a run does not tell, as old logs do not."""
    ours, theirs = candidate.log.manifest.scorer_digests, baseline.log.manifest.scorer_digests
    if not ours or not theirs:
        return []
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


def from_cache(candidate: Evidence, baseline: Evidence | None) -> str:
    """What a verdict says of answers that its runs did not ask for; nothing when there are none."""
    counts = {"candidate": candidate.cached, "baseline": baseline.cached if baseline else 0}
    used = [f"{count} of the {arm}" for arm, count in counts.items() if count]
    said = f"; answers from the cache: {', '.join(used)}" if used else ""
    runs = (("candidate", candidate), ("baseline", baseline))
    sources = [(arm, run.log.manifest.imported) for arm, run in runs if run is not None]
    taken = [f"the {arm} from {source.tool} {source.version}" for arm, source in sources if source is not None]
    return said + (f"; imported, not asked through the gateway: {', '.join(taken)}" if taken else "")
