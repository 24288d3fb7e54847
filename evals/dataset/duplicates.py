"""Samples that ask the same, or nearly: fine within one declared cluster, a leak across splits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from evals.dataset import near
from evals.dataset.findings import Finding, Level
from evals.dataset.folding import asked, fold, guidance
from evals.schema import Sample

SIMILAR = 0.8
"""The similarity from which two inputs count as near-duplicates: a typo, a greeting, other punctuation."""
_SHOWN = 100


def check(
    samples: Sequence[Sample],
    split_of: Mapping[str, str],
    similar: float = SIMILAR,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Duplicates and near-duplicates. `split_of` gives the split of those samples that are in one, by id."""
    by_text: dict[str, list[Sample]] = {}
    for sample in samples:
        by_text.setdefault(fold(asked(sample)), []).append(sample)
    findings = [finding for group in by_text.values() if len(group) > 1 for finding in _same(group, split_of)]
    texts, groups = list(by_text), list(by_text.values())
    found = near.find(texts, similar, _clusters(groups), on_progress)
    for pair in found.pairs:
        findings += _alike(groups[pair.first], groups[pair.second], pair.similarity, split_of)
    if not found.complete:
        message = (
            f"too many inputs are alike to look at every pair: {len(found.pairs)} pairs were found before the search "
            f"stopped. Give the questions of one template one cluster, or ask for more likeness with --similar"
        )
        findings.append(Finding(level="warning", code="near-duplicate-limit", message=message))
    longer = sum(len(text) > found.compared for text in texts)
    if longer:
        message = (
            f"{longer} inputs are longer than {found.compared} characters: near-duplicates were sought in their ends"
        )
        findings.append(Finding(level="warning", code="near-duplicate-limit", message=message))
    return findings


def _clusters(groups: Sequence[Sequence[Sample]]) -> list[int]:
    """A number for each text: that of the one cluster that all of its samples declare, or -1."""
    numbers: dict[str, int] = {}
    found = []
    for group in groups:
        declared = {sample.cluster for sample in group}
        only = declared.pop() if len(declared) == 1 else None
        found.append(-1 if only is None else numbers.setdefault(only, len(numbers)))
    return found


def _setting(sample: Sample) -> bytes:
    """Everything beside the question that an answer depends on."""
    return msgspec.json.encode([guidance(sample), sample.contexts, sample.tools])


def _same(group: list[Sample], split_of: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with samples of one text."""
    settings: dict[bytes, list[Sample]] = {}
    for sample in group:
        settings.setdefault(_setting(sample), []).append(sample)
    for same in settings.values():
        if len(same) > 1:
            yield from _duplicates(same, split_of)
    first = [same[0] for same in settings.values()]
    for one, two in pairwise(first):
        yield from _alike([one], [two], 1.0, split_of)


def _duplicates(same: list[Sample], split_of: Mapping[str, str]) -> Iterator[Finding]:
    ids = [sample.id for sample in same]
    listed = ", ".join(map(repr, ids[:5])) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    about = f"{listed} have the same input {_short(same[0])}"
    splits = sorted({split_of[each] for each in ids if each in split_of})
    if len(splits) > 1:
        message = f"{about}, in the splits {', '.join(splits)}: keep one of them, or give them one cluster"
        yield Finding(level="error", code="duplicate-input", message=message, samples=ids)
    else:
        message = f"{about}: keep one of them, or it counts {len(ids)} times"
        yield Finding(level="warning", code="duplicate-input", message=message, samples=ids)
    if len({frozenset(sample.references()) for sample in same}) > 1:
        message = f"{about}, and different references: one reference with every right answer would do"
        yield Finding(level="warning", code="contradiction", message=message, samples=ids)


def _alike(
    first: list[Sample], second: list[Sample], similarity: float, split_of: Mapping[str, str]
) -> Iterator[Finding]:
    """At most one finding: the two samples that show best what is wrong with two texts."""
    pairs = ((one, two) for one in first for two in second if one.cluster is None or one.cluster != two.cluster)
    one, two = next(pairs, (None, None))
    if one is None or two is None:
        return
    level: Level = "warning"
    remedy = "in different clusters: give them one cluster, for their answers are not independent"
    for left, right in ((left, right) for left in first for right in second):
        splits = {split_of.get(left.id), split_of.get(right.id)}
        if len(splits) == 2 and None not in splits:
            one, two, level = left, right, "error"
            remedy = f"in the splits {', '.join(sorted(map(str, splits)))}: give them one cluster, or drop one"
            break
    message = f"{one.id!r} {_short(one)} and {two.id!r} {_short(two)} are alike ({similarity:.2f}) and {remedy}"
    yield Finding(level=level, code="near-duplicate", message=message, samples=[one.id, two.id])


def _short(sample: Sample) -> str:
    text = " ".join(asked(sample).split())
    return repr(text if len(text) <= _SHOWN else "…" + text[-_SHOWN:])
