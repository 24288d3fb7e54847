"""Results of another tool as a sealed run log: a record for every sample and epoch that the tool was given.

The data set's digest is over ids, inputs and targets, so that two runs over different samples are refused by the gate.
A sample of which a tool lost the text would change it: `known`, the data set that an earlier import wrote, has it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from evals import dataset, run_log
from evals.dataset import Dataset, sample_digest, whole_digest
from evals.exchange.imported import UNREAD, Choice, Found, Imported, scored
from evals.lines import Manifest, Record, Source
from evals.schema import Answer, Failure, Sample, outcome_of
from gateway.contracts import canonical
from gateway.contracts.errors import InputError
from gateway.contracts.release import ReleaseManifest

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
"""What a gate file cannot have in the name of a suite, and a tool's task can: `inspect_evals/gsm8k`."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What an import came to: records by outcome, kinds of failure with their numbers, what was left out and why."""

    tool: str
    version: str
    model: str
    suite: str
    dataset: str
    dataset_sha256: str
    samples: int
    epochs: int
    partial: bool
    metrics: tuple[str, ...]
    outcomes: dict[str, int]
    failures: dict[str, int]
    left_out: dict[str, str]
    release: str | None


@dataclass(frozen=True, slots=True)
class Terms:
    """How results are taken: `suite` and `model` in place of the tool's names; `release` as the person claims.

    `whole`: what the tool's limit left is the whole data set. `known`: the samples as an earlier import wrote them;
    `dataset`: the name of the file that holds them.
    """

    suite: str | None = None
    model: str | None = None
    release: ReleaseManifest | None = None
    whole: bool = False
    known: Dataset | None = None
    dataset: str | None = None


def write(imported: Imported, out: Path, choice: Choice, terms: Terms, *, harness: str) -> Settled:
    """Write the log, whole or not at all. Raises InputError."""
    imported = replace(imported, samples=_known(imported, terms.known)) if terms.known else imported
    _refuse(imported, choice)
    data = _data(imported)
    records = tuple(_records(imported, data, choice))
    manifest = _manifest(imported, data, choice, terms, harness)
    run_log.write_whole(out, manifest, records)
    return Settled(
        imported.tool,
        imported.version,
        manifest.model,
        manifest.suite,
        manifest.dataset,
        data.digest,
        manifest.samples,
        imported.epochs,
        manifest.limit is not None,
        imported.metrics,
        dict(Counter(record.outcome for record in records)),
        dict(Counter(record.failure.kind for record in records if record.failure)),
        dict(imported.left_out),
        terms.release.name if terms.release else None,
    )


def _refuse(imported: Imported, choice: Choice) -> None:
    """Raise InputError for results that are none, a scale of none of them, a metric that rises as answers get worse."""
    if not imported.metrics:
        left = "; ".join(f"{name}: {reason}" for name, reason in imported.left_out.items()) or "none was found"
        raise InputError(f"{str(imported.files[0])!r} has no metric with a score for each sample ({left})")
    if unknown := choice.scales.keys() - {"", *imported.metrics}:
        raise InputError(
            f"--scale: no metric that is taken is called {min(unknown)!r}: they are {', '.join(imported.metrics)}"
        )
    for metric in imported.metrics:
        worst, best = choice.scales.get(metric, choice.scales.get("", (0.0, 1.0)))
        if metric in imported.falling and worst < best:
            raise InputError(
                f"metric {metric!r} falls as answers get better: turn it with `--scale {metric}=WORST:BEST`, worst "
                "first, or take other metrics with --metric"
            )


def _known(imported: Imported, known: Dataset) -> tuple[Sample, ...]:
    """The samples of an earlier import, after a check that the results are of these and no others."""
    ours = {sample.id: sample for sample in imported.samples}
    theirs = {sample.id: sample for sample in known.samples}
    strange = [each.id for each in imported.samples if each.input != UNREAD and theirs.get(each.id) != each]
    nameless = [each.id for each in imported.samples if each.input == UNREAD and each.id not in theirs]
    missing = [sample_id for sample_id in theirs if sample_id not in ours]
    if strange or len(nameless) > len(missing):
        raise InputError(
            f"{str(known.path)!r} holds other samples than the results: {(strange or nameless)[0]!r} is not in it, or "
            "with other text; name a new file to have it written"
        )
    return known.samples


def _data(imported: Imported) -> Dataset:
    digests = {sample.id: sample_digest(sample) for sample in imported.samples}
    return Dataset(Path(imported.dataset), imported.samples, digests, whole_digest(digests))


def _records(imported: Imported, data: Dataset, choice: Choice) -> Iterator[Record]:
    """One for each sample and epoch. Raises InputError for two results of one."""
    found: dict[tuple[str, int], Found] = {}
    for each in imported.results:
        if each.id not in data.digests or not 0 <= each.epoch < imported.epochs or (each.id, each.epoch) in found:
            raise InputError(
                f"{str(imported.files[0])!r}: sample {each.id!r}, epoch {each.epoch + 1}: expected one result for each "
                f"sample and each of {imported.epochs} epochs, found another: which one counts is unknown"
            )
        found[each.id, each.epoch] = each
    nothing = Failure("not_reported", "the tool was given this sample and has no result for it")
    for epoch in range(imported.epochs):
        for sample in imported.samples:
            result = found.get((sample.id, epoch)) or Found(sample.id, epoch, failure=nothing, attempts=0)
            scores, failure = scored(result, imported.metrics, choice)
            yield Record(
                id=sample.id,
                digest=data.digests[sample.id],
                outcome=outcome_of(failure.kind) if failure else "scored",
                epoch=epoch,
                cluster=sample.cluster,
                tags=sample.tags,
                scores=scores,
                failure=failure,
                answer=_readable(result),
                attempts=result.attempts,
            )


def _readable(result: Found) -> Answer | None:
    """The answer as a reader of the log will get it. Raises InputError for what JSON, or an answer, does not hold."""
    try:
        return msgspec.json.decode(msgspec.json.encode(result.answer), type=Answer | None)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"sample {result.id!r}: its answer has a figure or a text that no run log holds ({error}): mend it in the "
            "results, or take it out there"
        ) from error


def _manifest(imported: Imported, data: Dataset, choice: Choice, terms: Terms, harness: str) -> Manifest:
    release, taken = terms.release, len(imported.samples)
    total = taken if terms.whole or terms.known else max(taken, imported.total)
    suite = _UNSAFE.sub("-", terms.suite or imported.suite).strip("-._")[:64] or imported.tool
    scales = {name: list(choice.scales.get(name, choice.scales.get("", (0.0, 1.0)))) for name in imported.metrics}
    settings = {
        "imported": imported.tool,
        "suite": suite,
        "dataset_sha256": data.digest,
        "params": imported.params,
        "settings": imported.settings,
        "scales": scales,
        "epochs": imported.epochs,
    }
    files = {path.name: canonical.file_digest(path) for path in imported.files}
    return Manifest(
        suite=suite,
        suite_digest=_digest(settings),
        dataset=terms.dataset or imported.dataset,
        dataset_sha256=data.digest,
        samples=total,
        epochs=imported.epochs,
        model=terms.model or imported.model,
        params=dict(imported.params),
        system=None,
        scorers=[{"name": imported.tool, "as": metric} for metric in imported.metrics],
        limit=taken if taken < total else None,
        harness=harness,
        created=imported.created,
        scorer_digests={name: _digest([imported.tool, imported.version, name, scales[name]]) for name in scales},
        imported=Source(
            tool=imported.tool,
            version=imported.version,
            files=files,
            release=release.name if release else None,
            release_digest=release.digest() if release else None,
        ),
    )


def _digest(value: object) -> str:
    """Of what another tool's JSON holds, also numbers that have no canonical form: those as text."""
    return canonical.digest(msgspec.json.decode(msgspec.json.encode(value)))


def save_dataset(path: Path, imported: Imported) -> None:
    """Write the samples as a data set. Raises InputError where the tool does not hold the text of each."""
    lost = [sample.id for sample in imported.samples if sample.input == UNREAD]
    if lost:
        raise InputError(
            f"--dataset: the text of {len(lost)} samples is not in the tool's files, {lost[0]!r} among them: import a "
            "run that has it first, and name the file that it writes"
        )
    dataset.save(path, imported.samples)
