"""Two versions of a data set, sample by sample."""

from collections import Counter
from typing import Any

import msgspec

from evals.dataset.samples import Dataset, unit
from evals.schema import Sample


class Change(msgspec.Struct, frozen=True):
    """A field of one sample, before and after, as JSON values."""

    field: str
    old: Any
    new: Any


class Difference(msgspec.Struct, frozen=True):
    """What changed: ids in the order of their file; `tags` and `clusters` hold counts before and after, where they
    differ."""

    old_digest: str
    new_digest: str
    old_samples: int
    new_samples: int
    added: list[str]
    removed: list[str]
    changed: dict[str, list[Change]]
    tags: dict[str, tuple[int, int]]
    clusters: tuple[int, int]

    @property
    def same(self) -> bool:
        """Whether the two are the same samples; their order does not count."""
        return self.old_digest == self.new_digest


def diff(old: Dataset, new: Dataset) -> Difference:
    """Compare two data sets by the ids of their samples."""
    before = {sample.id: sample for sample in old.samples}
    after = {sample.id: sample for sample in new.samples}
    both = [each for each in before if each in after and old.digests[each] != new.digests[each]]
    tags_before, tags_after = _tags(old), _tags(new)
    return Difference(
        old_digest=old.digest,
        new_digest=new.digest,
        old_samples=len(before),
        new_samples=len(after),
        added=[each for each in after if each not in before],
        removed=[each for each in before if each not in after],
        changed={each: _changes(before[each], after[each]) for each in both},
        tags={
            tag: (tags_before[tag], tags_after[tag])
            for tag in sorted(tags_before | tags_after)
            if tags_before[tag] != tags_after[tag]
        },
        clusters=(_clusters(old), _clusters(new)),
    )


def _changes(old: Sample, new: Sample) -> list[Change]:
    before, after = msgspec.to_builtins(old), msgspec.to_builtins(new)
    return [Change(name, before[name], after[name]) for name in before if before[name] != after[name]]


def _tags(data: Dataset) -> Counter[str]:
    return Counter(tag for sample in data.samples for tag in set(sample.tags))


def _clusters(data: Dataset) -> int:
    return len({unit(sample) for sample in data.samples})
