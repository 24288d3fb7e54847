"""What a verdict rests on, held against the files themselves: gate, logs, data set, release.

A signature says who decided. It does not say that the gate file, the logs or the data set that lie here are those of
the decision; their digests do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from evals import dataset, run_log
from evals.gate_config import GateConfig
from gateway.contracts import documents, release
from gateway.contracts.verdict import CLOCK_SKEW, Predicate, Reference, Verdict


@dataclass(frozen=True, slots=True)
class Files:
    """The files to hold a verdict against; None for those that nobody asked about.

    `run` is the log of both arms, `candidate` and `baseline` logs of their own. `split` is the one of `data`; without
    it, the gate's.
    """

    release: Path | None = None
    gate_file: Path | None = None
    run: Path | None = None
    candidate: Path | None = None
    baseline: Path | None = None
    data: Path | None = None
    split: str | None = None


def dated(predicate: Predicate, now: datetime) -> tuple[str, ...]:
    """Why a verdict does not count at a moment; empty when it does."""
    if predicate.created > now + CLOCK_SKEW:
        return (f"it is dated {predicate.created:%Y-%m-%d %H:%M} UTC, in the future: check both clocks",)
    if predicate.expires <= now.astimezone(UTC):
        return (f"it expired at {predicate.expires:%Y-%m-%d %H:%M} UTC: run the gate again",)
    return ()


def differences(verdict: Verdict, files: Files) -> tuple[str, ...]:
    """Every file that is not the one of the verdict, in sentences for people. Raises InputError for unreadable ones."""
    return tuple(_differences(verdict, files))


def _differences(verdict: Verdict, files: Files) -> Iterator[str]:
    rests = verdict.predicate
    if files.release is not None:
        manifest = release.load(files.release)
        if (manifest.name, manifest.digest()) != (verdict.release, verdict.release_digest):
            yield (
                f"it is about {verdict.release} {verdict.release_digest}, and {str(files.release)!r} is "
                f"{manifest.name} {manifest.digest()}"
            )
    gate = None if files.gate_file is None else documents.load(files.gate_file, GateConfig)
    if gate is not None:
        yield from _other("gate", rests.gate, gate.digest(), files.gate_file)
    yield from _logs(rests, files)
    if files.data is not None:
        split = files.split or (gate.split if gate else None)
        yield from _other("data set", rests.dataset, dataset.load_split(files.data, split).digest, files.data)


def _logs(rests: Predicate, files: Files) -> Iterator[str]:
    if files.run is not None:
        found = run_log.read(files.run).digest
        yield from _other("log", rests.candidate_run, found, files.run)
        if rests.baseline_run is not None and rests.baseline_run.digest != rests.candidate_run.digest:
            yield from _other("baseline's log", rests.baseline_run, found, files.run)
    if files.candidate is not None:
        found = run_log.read(files.candidate).digest
        yield from _other("candidate's log", rests.candidate_run, found, files.candidate)
    if files.baseline is not None:
        yield from _other("baseline's log", rests.baseline_run, run_log.read(files.baseline).digest, files.baseline)


def _other(role: str, reference: Reference | None, found: str, path: Path | None) -> Iterator[str]:
    if reference is None:
        yield f"it rests on no {role}, and {str(path)!r} was given"
    elif reference.digest != found:
        yield f"it rests on the {role} {reference.name!r} {reference.digest}, and {str(path)!r} is {found}"
