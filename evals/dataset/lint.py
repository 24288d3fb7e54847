"""What a data set's own text shows: references that cannot be missed, odd tags, answers that the prompt gives away."""

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from evals.dataset import card as cards
from evals.dataset import splits
from evals.dataset.card import Card
from evals.dataset.findings import Finding
from evals.dataset.folding import asked, fold, guidance, words
from evals.dataset.samples import Dataset
from evals.schema import Sample
from gateway.contracts import canonical
from gateway.contracts.errors import DocumentError

_TELLING = 4
"""Words from which a text says more than a label does: `yes` in a prompt gives no answer away."""
_MOST_GUESSES = 50
_NEAR = 0.85


def broken(error: DocumentError) -> list[Finding]:
    """The mistakes of a file that does not load, as findings."""
    return [
        Finding(
            level="error",
            code="duplicate-id" if mistake.key == "id" else "schema",
            message=str(mistake),
            line=mistake.line,
        )
        for mistake in error.mistakes
    ]


def references(samples: Iterable[Sample]) -> Iterator[Finding]:
    """An empty reference is no expected answer: no answer equals it, and every answer includes it."""
    for sample in samples:
        if any(not text.strip() for text in sample.references()):
            message = f"{sample.id!r} has an empty reference: write the expected answer, or leave the key out"
            yield Finding(level="error", code="empty-reference", message=message, samples=[sample.id])


def tags(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Tags that occur once, and tags that differ in spelling only."""
    counts = Counter(tag for sample in samples for tag in set(sample.tags))
    spelled: defaultdict[str, list[str]] = defaultdict(list)
    for tag in counts:
        spelled[fold(tag.replace("_", " ").replace("-", " "))].append(tag)
    variants = [sorted(group) for group in spelled.values() if len(group) > 1]
    for group in variants:
        listed = ", ".join(f"{tag!r} ({counts[tag]})" for tag in group)
        message = f"the tags {listed} differ in spelling only: a slice by one of them lacks the others' samples"
        yield Finding(level="warning", code="tag-spelling", message=message)
    known = {tag for group in variants for tag in group}
    guesses = 0
    for sample in samples if len(samples) > 1 else ():
        for tag in sample.tags:
            if counts[tag] == 1 and tag not in known:
                guesses += 1
                near = _near(tag, counts) if guesses <= _MOST_GUESSES else ""
                message = f"the tag {tag!r} occurs once, on {sample.id!r}" + (
                    f": did you mean {near!r}?" if near else ""
                )
                yield Finding(level="warning", code="rare-tag", message=message, samples=[sample.id])


def _near(tag: str, counts: Counter[str]) -> str:
    others = [other for other in counts if other != tag]
    return next(iter(difflib.get_close_matches(tag, others, n=1, cutoff=_NEAR)), "")


def prompts(samples: Iterable[Sample], system: str | None) -> Iterator[Finding]:
    """Questions and answers that a system message gives away: the suite's, or a sample's own.

    A reference shorter than four words is not sought: a prompt may well list the labels to choose from.
    """
    shared = f" {fold(system)} " if system else ""
    for sample in samples:
        prompt = shared + (f" {fold(guidance(sample))} " if not isinstance(sample.input, str) else "")
        if not prompt.strip():
            continue
        question = fold(asked(sample))
        if len(words(question)) > 1 and f" {question} " in prompt:
            message = f"{sample.id!r}: the system message holds the question, word for word: take it out"
            yield Finding(level="error", code="in-prompt", message=message, samples=[sample.id])
        given = [text for text in sample.references() if len(words(text)) >= _TELLING and f" {fold(text)} " in prompt]
        if given:
            message = (
                f"{sample.id!r}: the system message holds the answer {given[0]!r:.100}: the model need not know it"
            )
            yield Finding(level="warning", code="in-prompt", message=message, samples=[sample.id])


def card(found: Card | None, data: Dataset) -> Iterator[Finding]:
    """What the card says that the file does not bear out, or that it does not say. Splits are looked at too."""
    beside = cards.beside(data.path)
    if found is None:
        message = f"no {cards.FILE} beside the file: whose is it, and how was it made? Write {str(beside)!r}:\n"
        yield Finding(level="warning", code="no-card", message=message + cards.template(data.path, data.digest))
        return
    if not found.speaks_of(data.path):
        message = (
            f"{str(beside)!r} says nothing about {data.path.name!r}: add `file: {data.path.name}`, or a split with it"
        )
        yield Finding(level="warning", code="no-card", message=message)
    if found.file == data.path.name:
        yield from _digest(found, data, str(beside))
    yield from splits.check(found, data)


def _digest(found: Card, data: Dataset, beside: str) -> Iterator[Finding]:
    if found.digest is None:
        message = f"{beside!r} does not say what the file was: add `digest: {data.digest}`"
        yield Finding(level="warning", code="digest", message=message)
    elif found.digest != data.digest:
        message = (
            f"the file is {data.digest}, and {beside!r} says {found.digest}: take back the change, or put the new "
            "digest there and raise `version`"
        )
        yield Finding(level="error", code="digest", message=message)


def files(found: Card | None, data: Dataset) -> Iterator[Finding]:
    """Other files that a card names, with another sha256 or gone."""
    for name, sha256 in found.files.items() if found else ():
        path = data.path.parent / name
        now = canonical.file_digest(path).removeprefix("sha256:") if path.is_file() else None
        if now != sha256:
            state = "is missing" if now is None else f"has sha256 {now}"
            message = f"{name!r} {state}, and the card says {sha256}"
            yield Finding(level="error", code="digest", message=message)
