"""`evals data lint`, `split`: is this data set fit to decide a release on?"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from evals import dataset, scorers, whole
from evals.cli import tables
from evals.cli.common import BROKEN, Command, console
from evals.cli.work import work
from evals.config import load_suite
from evals.dataset import card as cards
from evals.dataset import corpus, duplicates, splits
from evals.dataset import lint as linting
from evals.dataset.card import Card
from evals.dataset.findings import Finding
from evals.dataset.samples import unit
from gateway.contracts import documents
from gateway.contracts.commands import Number
from gateway.contracts.errors import DocumentError, InputError

_FILE = click.Path(path_type=Path, dir_okay=False)
_MOST_SHOWN = 5
_COLOURS = {"error": "red", "warning": "yellow"}


@click.command("lint", cls=Command)
@click.argument("file", type=_FILE)
@click.option("--suite", "suite_file", type=_FILE, help="Also look for questions and answers in its system message.")
@click.option(
    "--corpus", "corpora", type=click.Path(path_type=Path), multiple=True, help="Also look for questions in it."
)
@click.option(
    "--similar",
    type=Number(0.5, 1),
    default=duplicates.SIMILAR,
    show_default=True,
    help="From which likeness two inputs are near-duplicates.",
)
@click.option("--strict", is_flag=True, help="Exit code 3 for warnings too.")
@click.option("--json", "as_json", is_flag=True, help="Print every finding as JSON.")
def lint(
    file: Path, suite_file: Path | None, corpora: tuple[Path, ...], similar: float, strict: bool, as_json: bool
) -> None:
    """Check a data set; then counts and the digest that a gate names. Exit code 3 when there are errors.

    Errors: a broken line, a duplicate id, an empty reference, a changed file or split, a cluster or two
    near-duplicates in two splits, a question that stands in the prompt or the corpus word for word. Warnings:
    duplicates, near-duplicates in different clusters, a tag that occurs once or is spelled in two ways, an answer in
    the prompt, no card.

    \b
    Examples:
      evals data lint heldout.jsonl
      evals data lint heldout.jsonl --suite suite.yaml --corpus train.jsonl --corpus manuals/ --strict
    """
    try:
        loaded = dataset.load(file)
        card = cards.load(file)
    except DocumentError as error:
        if not as_json:
            raise
        click.echo(msgspec.json.encode({"findings": linting.broken(error), "errors": len(error.mistakes)}))
        raise click.exceptions.Exit(BROKEN) from error
    system = load_suite(suite_file, scorers.build).system if suite_file else None
    found = [*_of_text(loaded, card, system), *_duplicates(loaded, card, similar), *_in_corpus(loaded, corpora)]
    found.sort(key=lambda finding: finding.level)
    counts = Counter(finding.level for finding in found)
    facts = _facts(loaded, card)
    if as_json:
        levels = {"errors": counts["error"], "warnings": counts["warning"]}
        click.echo(msgspec.json.encode(facts | levels | {"findings": found}))
    else:
        _print(facts, found)
    if counts["error"] or (strict and counts["warning"]):
        raise click.exceptions.Exit(BROKEN)


def _of_text(loaded: dataset.Dataset, card: Card | None, system: str | None) -> Iterable[Finding]:
    yield from linting.card(card, loaded)
    yield from linting.files(card, loaded)
    yield from linting.references(loaded.samples)
    yield from linting.prompts(loaded.samples, system)
    yield from linting.tags(loaded.samples)


def _duplicates(loaded: dataset.Dataset, card: Card | None, similar: float) -> list[Finding]:
    split_of = splits.members(card, loaded) if card else {}
    with work("near-duplicates") as advance:
        return duplicates.check(loaded.samples, split_of, similar, advance)


def _in_corpus(loaded: dataset.Dataset, corpora: tuple[Path, ...]) -> list[Finding]:
    if not corpora:
        return []
    with work("corpus") as advance:
        read = 0

        def count(file: Path) -> None:
            nonlocal read
            advance(read, total)
            read += 1

        total = sum(len(corpus.files(path)) for path in corpora)
        return corpus.check(loaded.samples, corpus.documents(corpora, loaded.path, count))


def _facts(loaded: dataset.Dataset, card: Card | None) -> dict[str, Any]:
    clusters = Counter(map(unit, loaded.samples))
    return {
        "samples": len(loaded.samples),
        "clusters": len(clusters),
        "largest_cluster": max(clusters.values()),
        "tags": dict(sorted(Counter(tag for sample in loaded.samples for tag in set(sample.tags)).items())),
        "without_reference": len([sample for sample in loaded.samples if not sample.references()]),
        "splits": {name: len(part.samples) for name, part in splits.parts(card, loaded).items()} if card else {},
        "digest": loaded.digest,
    }


def _print(facts: dict[str, Any], found: list[Finding]) -> None:
    screen = console()
    shown: Counter[tuple[str, str]] = Counter()
    totals = Counter((finding.level, finding.code) for finding in found)
    for finding in found:
        kind = (finding.level, finding.code)
        shown[kind] += 1
        if shown[kind] <= _MOST_SHOWN:
            screen.print(f"[{_COLOURS[finding.level]}]{finding.level}[/] {finding.code}: ", end="")
            screen.print(finding.message, markup=False, soft_wrap=True)
        elif shown[kind] == totals[kind]:
            screen.print(f"  and {totals[kind] - _MOST_SHOWN} more of {finding.code} (--json: all)")
    errors = sum(finding.level == "error" for finding in found)
    screen.print(f"{errors} errors, {len(found) - errors} warnings" if found else "nothing to mend")
    for line in _fact_lines(facts):
        screen.print(line, markup=False, soft_wrap=True)


def _fact_lines(facts: dict[str, Any]) -> Iterable[str]:
    yield f"samples: {facts['samples']}"
    yield f"clusters: {facts['clusters']}, the largest of {facts['largest_cluster']}"
    yield "tags: " + (", ".join(f"{tag} {count}" for tag, count in facts["tags"].items()) or "none")
    if facts["splits"]:
        yield "splits: " + ", ".join(f"{name} {count}" for name, count in facts["splits"].items())
    if facts["without_reference"]:
        yield f"without a reference: {facts['without_reference']}"
    yield f"digest: {facts['digest']}"


@click.command("split", cls=Command)
@click.argument("file", type=_FILE)
@click.option("--fraction", "fractions", multiple=True, metavar="NAME=SHARE", help="Write this into the card first.")
@click.option("--salt", help="Write this into the card first; another salt gives other splits.")
@click.option("--refreeze", is_flag=True, help="Replace what the card froze before.")
@click.option("--json", "as_json", is_flag=True, help="Print the splits as JSON.")
def split(file: Path, fractions: tuple[str, ...], salt: str | None, refreeze: bool, as_json: bool) -> None:
    """Freeze the splits of a data set: writes their digests and counts into the card beside it.

    A cluster goes to a split by a hash of its name, so that paraphrases stay together and new samples move none. A
    suite then names a split (`split: test`), and a gate its digest. Everything else in the card stays as it is.

    \b
    Examples:
      evals data split questions.jsonl --fraction dev=0.3 --fraction test=0.7 --salt spring
      evals data split questions.jsonl --refreeze
    """
    loaded = dataset.load(file)
    path = cards.beside(file)
    before = cards.load(file)
    if before is None:
        lacking = cards.template(file, loaded.digest)
        raise InputError(f"expected a card {str(path)!r} to freeze the splits in, found none: write it:\n{lacking}")
    card = _assigned(before, file, fractions, salt)
    parts = splits.parts(card, loaded)
    if not parts:
        raise InputError(f"{str(path)!r} names no split of {file.name!r}: give --fraction NAME=SHARE twice, and --salt")
    frozen = dict(card.splits) | {
        name: splits.frozen(part, card.splits.get(name), name) for name, part in parts.items()
    }
    _refuse_changes(before, frozen, refreeze)
    changes: dict[str, Any] = {"digest": loaded.digest} if card.file == file.name else {}
    if card.assign is not None and fractions:
        changes |= {"file": file.name, "assign": card.assign.model_dump(mode="json")}
    changes["splits"] = {name: each.model_dump(mode="json", exclude_none=True) for name, each in frozen.items()}
    text = cards.with_keys(documents.read_text(path), changes, str(path))
    documents.validate(*documents.parse(text, str(path)), Card, str(path))
    try:
        with whole.beside(path) as made:
            made.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"the card {str(path)!r} cannot be written: {error.strerror}; it is as it was") from error
    _report(parts, frozen, path, as_json)


def _assigned(card: Card, file: Path, fractions: tuple[str, ...], salt: str | None) -> Card:
    """The card with what the flags say about splits. Raises InputError."""
    if bool(fractions) != (salt is not None):
        raise click.UsageError("--fraction and --salt go together")
    if salt is None:
        return card
    shares: dict[str, Any] = dict(each.partition("=")[::2] for each in fractions)
    values = {**card.model_dump(), "file": file.name, "assign": {"salt": salt, "fractions": shares}}
    known = {name: each for name, each in card.splits.items() if each.file or each.ids or name in shares}
    values["splits"] = {name: each.model_dump() for name, each in known.items()}
    if card.file not in (None, file.name):
        raise InputError(
            f"the card is about {card.file!r}, not {file.name!r}: keep each data set in a folder of its own"
        )
    return documents.validate(values, {}, Card, "--fraction, --salt")


def _refuse_changes(card: Card, frozen: dict[str, cards.Split], refreeze: bool) -> None:
    changed = [n for n, s in card.splits.items() if s.digest and (n not in frozen or frozen[n].digest != s.digest)]
    if changed and not refreeze:
        raise InputError(
            f"{', '.join(map(repr, changed))} would change, and a gate may rely on it: add --refreeze to freeze a new "
            "version, and raise `version` in the card"
        )


def _report(parts: dict[str, dataset.Dataset], frozen: dict[str, cards.Split], path: Path, as_json: bool) -> None:
    if as_json:
        found = {name: frozen[name].model_dump(mode="json", exclude_none=True) for name in parts}
        click.echo(msgspec.json.encode({"card": str(path), "splits": found}))
        return
    made = tables.table("split", ">samples", ">clusters", "digest")
    for name in parts:
        made.add_row(name, str(frozen[name].rows), str(frozen[name].clusters), str(frozen[name].digest))
    screen = console()
    screen.print(made)
    screen.print(f"frozen in {str(path)!r}", markup=False, soft_wrap=True)
