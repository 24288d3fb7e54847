"""Splits: which samples belong together for tuning and for testing, frozen by digest in the card.

A cluster goes to a split by a hash of its name and the card's salt. So the samples of one cluster never part, and a
sample that is added moves no other one. What was frozen is checked whenever a split is used: a gate on `test` is about
these samples and no others.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from evals.dataset import card as cards
from evals.dataset.card import Assign, Card, Split
from evals.dataset.findings import Finding
from evals.dataset.formats import load
from evals.dataset.samples import Dataset, unit
from gateway.contracts import canonical
from gateway.contracts.errors import InputError

_ADVICE = "take back the change, or freeze a new version with `evals data split --refreeze` and raise `version`"
_NAMED = 5


def place(assign: Assign, cluster: str) -> str:
    """The split of a cluster (by its `unit`): where a hash of it falls among the fractions, sorted by name."""
    hashed = hashlib.sha256(f"{assign.salt}\0{cluster}".encode()).digest()
    at, reached = int.from_bytes(hashed[:8], "big") / 2**64, 0.0
    names = sorted(assign.fractions)
    for name in names:
        reached += assign.fractions[name]
        if at < reached:
            return name
    return names[-1]


def members(card: Card, data: Dataset) -> dict[str, str]:
    """The split of every sample, by id, for the splits that are parts of this file. Listed ids come before the hash."""
    if data.path.name != card.file:
        return {}
    listed = {each: name for name, split in card.splits.items() for each in split.ids or ()}
    found = {}
    for sample in data.samples:
        if sample.id in listed:
            found[sample.id] = listed[sample.id]
        elif card.assign is not None:
            found[sample.id] = place(card.assign, unit(sample))
    return found


def parts(card: Card, data: Dataset) -> dict[str, Dataset]:
    """The splits of this file: parts of it, or the one split that it is. Empty ones too."""
    whole = {name: data for name, split in card.splits.items() if split.file == data.path.name}
    if data.path.name != card.file:
        return whole
    found = members(card, data)
    return whole | {name: data.only(i for i, split in found.items() if split == name) for name in card.inside()}


def frozen(part: Dataset, split: Split | None, name: str = "") -> Split:
    """A split with its digest and counts as they are now. Raises InputError for one without samples."""
    if not part.samples:
        raise InputError(f"split {name!r} has no samples: give it a larger share, or another salt")
    known = split or Split()
    clusters = len({unit(sample) for sample in part.samples})
    return known.model_copy(update={"digest": part.digest, "rows": len(part.samples), "clusters": clusters})


def load_split(path: Path, split: str | None) -> Dataset:
    """The samples of one split of a data set, with a digest of their own; all samples for None.

    The card beside the file says who they are. Raises DocumentError for a broken file or card, InputError when there is
    no such split, when it was never frozen, or when it is not what was frozen.
    """
    data = load(path)
    if split is None:
        return data
    card = cards.load(path)
    if card is None:
        raise InputError(f"split {split!r}: expected {str(cards.beside(path))!r}, which says who is in it; found none")
    found = parts(card, data)
    if split not in found:
        other = card.splits[split].file if split in card.splits else None
        hint = f"it is the file {other!r}" if other else f"its splits are {', '.join(found) or 'none'}"
        raise InputError(f"{str(path)!r} has no split {split!r}: {hint}")
    for problem in _changed(found[split], split, card.splits.get(split)):
        raise InputError(f"{str(path)!r}: {problem}")
    return found[split]


def _changed(part: Dataset, name: str, split: Split | None) -> Iterator[str]:
    """Why a split is not what the card froze, at most one sentence."""
    if not part.samples:
        yield f"split {name!r} has no samples"
    elif split is None or (split.digest is None and split.sha256 is None):
        yield f"split {name!r} is not frozen: `evals data split` writes its digest into the card"
    elif split.digest not in (None, part.digest):
        then, now = f"{split.rows or 'some'} samples, {split.digest}", f"{len(part.samples)} samples, {part.digest}"
        yield f"split {name!r} changed: the card froze {then}; now {now}: {_ADVICE}"
    elif split.sha256 is not None and canonical.file_digest(part.path) != f"sha256:{split.sha256}":
        yield f"split {name!r} changed: its file has another sha256 than the card's {split.sha256}: {_ADVICE}"


def check(card: Card, data: Dataset) -> list[Finding]:
    """What is wrong with the splits of a file."""
    found = parts(card, data)
    findings = [
        Finding(level="error", code="split", message=problem)
        for name, part in found.items()
        for problem in _changed(part, name, card.splits.get(name))
    ]
    for name, part in found.items():
        split = card.splits.get(name) or Split()
        counts = frozen(part, split) if part.samples else split
        for what in ("rows", "clusters"):
            said, is_now = getattr(split, what), getattr(counts, what)
            if said not in (None, is_now) and split.digest in (None, part.digest):
                message = f"split {name!r}: the card says {said} {what}, the file has {is_now}"
                findings.append(Finding(level="error", code="split", message=message))
    return findings + list(_membership(card, data))


def _membership(card: Card, data: Dataset) -> Iterator[Finding]:
    if data.path.name != card.file or not list(card.inside()):
        return
    known = {sample.id for sample in data.samples}
    seen: dict[str, str] = {}
    for name, split in card.splits.items():
        absent = [each for each in split.ids or () if each not in known]
        if absent:
            message = f"split {name!r} lists {len(absent)} ids that the file does not have: {_some(absent)}"
            yield Finding(level="error", code="split", message=message, samples=absent)
        twice = [each for each in split.ids or () if seen.setdefault(each, name) != name]
        if twice:
            message = f"split {name!r} lists ids that another split lists too: {_some(twice)}"
            yield Finding(level="error", code="split", message=message, samples=twice)
    found = members(card, data)
    outside = [sample.id for sample in data.samples if sample.id not in found]
    if outside:
        message = f"{len(outside)} samples are in no split: {_some(outside)}"
        yield Finding(level="warning", code="split", message=message, samples=outside)
    places: dict[str, dict[str, str]] = {}
    for sample in data.samples:
        places.setdefault(unit(sample), {}).setdefault(found.get(sample.id, ""), sample.id)
    for cluster, by_split in places.items():
        if len(by_split) > 1:
            names = ", ".join(repr(name) if name else "none" for name in sorted(by_split))
            message = (
                f"{cluster!r} is parted among splits ({names}): its samples are not independent, keep them together"
            )
            yield Finding(level="error", code="split-cluster", message=message, samples=sorted(by_split.values()))


def _some(ids: list[str]) -> str:
    return ", ".join(map(repr, ids[:_NAMED])) + (" and more" if len(ids) > _NAMED else "")
