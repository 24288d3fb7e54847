"""The data set of a run, for its prompts: a log holds answers, and says by digest which questions they answer."""

from dataclasses import dataclass
from pathlib import Path

from evals.dataset import Dataset, load_split
from evals.lines import Manifest
from evals.report.texts import clean
from gateway.contracts.errors import InputError, TollgateError

ADVICE = "give the data set with --dataset FILE"


@dataclass(frozen=True, slots=True)
class Found:
    """The data set of a run, or why it is not at hand, in a sentence."""

    data: Dataset | None
    why: str = ""


def find(named: Path | None, of_gate: Path | None, manifest: Manifest) -> Found:
    """The data set that somebody `named`, or else the one of the gate file.

    Raises InputError when the named one is not the one of the run, and DocumentError when it is broken. What the gate
    file names is a help and no order: where it is not there or not the one, the reason is told.
    """
    if named is not None:
        return Found(_checked(named, manifest))
    if of_gate is None:
        return Found(None, f"a run log holds no prompts: {ADVICE} (the run's is {clean(manifest.dataset)!r})")
    try:
        return Found(_checked(of_gate, manifest))
    except TollgateError as error:
        return Found(None, f"the gate's data set cannot be used, {clean(str(error))}: {ADVICE}")


def _checked(path: Path, manifest: Manifest) -> Dataset:
    data = load_split(path, manifest.split)
    if data.digest != manifest.dataset_sha256:
        which = f"{str(path)!r}" + (f", split {manifest.split!r}," if manifest.split else "")
        raise InputError(
            f"{which} is {data.digest}, and the run is of {manifest.dataset_sha256}: expected the file that was run, "
            "as it was then"
        )
    return data
