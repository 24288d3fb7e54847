"""What went wrong, by kind, and what each arm used."""

from collections import Counter
from collections.abc import Iterable, Mapping

from evals import compare
from evals.evidence import Evidence
from evals.lines import Record
from evals.report.texts import clean, ending
from evals.report.view import Bill, FailureKind
from evals.schema import HARNESS_FAILURES, OUTCOMES, SYSTEM_FAILURES, Arm

MOST_IDS = 12
_EXAMPLE = 300
NO_RECORD = "no_record"


def failures(runs: Mapping[Arm, Evidence]) -> tuple[FailureKind, ...]:
    """Every kind of failure of each arm, the most frequent first, and results that left no record at all."""
    return tuple(found for arm, run in runs.items() for found in _of(arm, run))


def _of(arm: Arm, run: Evidence) -> Iterable[FailureKind]:
    kinds: dict[str, list[Record]] = {}
    for record in _records(run):
        if record.failure is not None:
            kinds.setdefault(record.failure.kind, []).append(record)
    for kind, records in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])):
        system = kind in SYSTEM_FAILURES
        example = records[0].failure
        yield FailureKind(
            arm=arm,
            kind=kind,
            meaning=SYSTEM_FAILURES.get(kind) or HARNESS_FAILURES.get(kind, "unknown to this version"),
            counts_as="a score of 0" if system else "missing evidence",
            count=len(records),
            example=ending(example.message, _EXAMPLE) if example else "",
            ids=tuple(clean(each) for each in list(dict.fromkeys(r.id for r in records))[:MOST_IDS]),
        )
    manifest = run.log.manifest
    lacking = manifest.samples * manifest.epochs - sum(1 for _ in _records(run))
    if lacking > 0:
        meaning = "samples of the data set, or epochs of them, that the log says nothing about"
        yield FailureKind(arm, NO_RECORD, meaning, "missing evidence", lacking, "", ())


def bills(runs: Mapping[Arm, Evidence]) -> tuple[Bill, ...]:
    """What each arm used, and how its results and answers ended."""
    return tuple(_bill(arm, run) for arm, run in runs.items())


def _bill(arm: Arm, run: Evidence) -> Bill:
    found = compare.account(run)
    reasons = Counter(clean(r.answer.finish_reason or "not told") for r in _records(run) if r.answer is not None)
    return Bill(
        arm=arm,
        outcomes={name: found.outcomes[name] for name in OUTCOMES},
        finish_reasons=dict(reasons.most_common()),
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        cached_tokens=found.cached_tokens,
        cost=found.cost,
        uncosted=found.uncosted,
        from_cache=found.from_cache,
    )


def _records(run: Evidence) -> Iterable[Record]:
    return (record for unit in run.units.values() for record in unit.records)
