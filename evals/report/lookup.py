"""One sample of a run by its id, and what to say when there is none."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from evals.dataset import Dataset
from evals.evidence import Evidence
from evals.report import answers
from evals.report.texts import clean
from evals.report.view import SampleView
from evals.schema import Arm
from gateway.contracts.errors import InputError

_NEAREST = 5


def one(sample_id: str, runs: Mapping[Arm, Evidence], data: Dataset | None) -> SampleView:
    """Everything about a sample, in every epoch and arm. Raises InputError for one that no run has."""
    if not any(sample_id in run.units for run in runs.values()):
        raise InputError(_unknown(sample_id, runs))
    about = next((sample for sample in data.samples if sample.id == sample_id), None) if data else None
    metrics = runs["candidate"].log.manifest.metrics()
    return answers.sample(sample_id, runs, about, metrics, "lowest", answers.EVERYTHING)


def _unknown(sample_id: str, runs: Mapping[Arm, Evidence]) -> str:
    log = runs["candidate"].log
    ids = sorted({each for run in runs.values() for each in run.units})
    near = nearest(sample_id, ids)
    hint = f"the nearest ids are {', '.join(map(repr, near))}" if near else f"it has {len(ids)} others"
    return f"{clean(str(log.path))!r} has no sample {sample_id!r}: {hint}; ids are those of {log.manifest.dataset!r}"


def nearest(wanted: str, ids: Iterable[str]) -> list[str]:
    """Ids that begin like the one that is wanted or hold it, then those that are spelled much like it."""
    listed = list(ids)
    inside = [each for each in listed if wanted and wanted.lower() in each.lower()]
    alike = get_close_matches(wanted, listed, n=_NEAREST, cutoff=0.5)
    return list(dict.fromkeys(inside[:_NEAREST] + alike))[:_NEAREST]
