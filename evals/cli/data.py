"""`evals data show`, `diff`, `convert`: look at data sets. The other commands of the group are in `data_checks`."""

from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.markup import escape

from evals import dataset
from evals.cli import tables
from evals.cli.common import Command, GateCommand, console
from evals.cli.data_checks import lint, split
from evals.dataset import diff as diffs
from evals.dataset.folding import asked
from evals.dataset.samples import is_set, unit
from evals.schema import Sample
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)
_SHORT = 60
_MOST_CHANGES = 20


@click.group("data")
def data() -> None:
    """Check, show, compare, split and convert data sets: files of JSON Lines, CSV or Parquet.

    \b
    Example:
      evals data lint questions.jsonl
    """


data.add_command(lint)
data.add_command(split)


@data.command("show", cls=Command)
@click.argument("file", type=_FILE)
@click.argument("sample_id", metavar="[ID]", required=False)
@click.option("--tag", help="Only samples with this tag.")
@click.option("--split", "split_name", help="Only samples of this split; the card has to have frozen it.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many samples.")
@click.option("--json", "as_json", is_flag=True, help="Print samples as JSON Lines, with their digests.")
def show(file: Path, sample_id: str | None, tag: str | None, split_name: str | None, limit: int, as_json: bool) -> None:
    """Print samples: a table of them, or everything about one.

    \b
    Examples:
      evals data show questions.jsonl
      evals data show questions.jsonl plan.free.price.h01
      evals data show questions.jsonl --tag plans --split test --limit 5 --json
    """
    loaded = dataset.load_split(file, split_name)
    found = [sample for sample in loaded.tagged(tag) if sample_id in (None, sample.id)]
    if not found:
        raise InputError(f"{str(file)!r} has no such sample: {_sought(sample_id, tag, split_name, loaded)}")
    if as_json:
        for sample in found[:limit]:
            click.echo(msgspec.json.encode(_fields(sample) | {"digest": loaded.digests[sample.id]}))
    elif sample_id is not None:
        click.echo(msgspec.json.format(msgspec.json.encode(_fields(found[0])), indent=2))
        click.echo(f"digest: {loaded.digests[sample_id]}")
    else:
        _print_table(found, limit)


def _sought(sample_id: str | None, tag: str | None, split_name: str | None, loaded: dataset.Dataset) -> str:
    tags = sorted({tag for sample in loaded.samples for tag in sample.tags})
    asked_for = (("id", sample_id), ("tag", tag), ("split", split_name))
    wanted = " and ".join(f"{name} {value!r}" for name, value in asked_for if value is not None)
    return f"sought {wanted} among {len(loaded.samples)} samples; the tags are {', '.join(tags) or 'none'}"


def _fields(sample: Sample) -> dict[str, Any]:
    """What is set of a sample, as JSON values."""
    fields: dict[str, Any] = msgspec.to_builtins(sample)
    return {name: value for name, value in fields.items() if is_set(name, value)}


def _print_table(found: list[Sample], limit: int) -> None:
    made = tables.table("id", "input", "reference", "tags", "cluster")
    for sample in found[:limit]:
        cells = (sample.id, _short(asked(sample)), _short(" | ".join(sample.references())), ", ".join(sample.tags))
        made.add_row(*map(escape, (*cells, sample.cluster or "-")))
    screen = console()
    screen.print(made)
    shown = min(limit, len(found))
    screen.print(
        f"{shown} of {len(found)} samples (--limit {len(found)}: all)" if shown < len(found) else f"{shown} samples"
    )
    counts = Counter(tag for sample in found for tag in set(sample.tags))
    screen.print("tags: " + (", ".join(f"{tag} {n}" for tag, n in sorted(counts.items())) or "none"), markup=False)
    screen.print(f"clusters: {len({unit(sample) for sample in found})}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else line[: _SHORT - 1] + "…"


@data.command("diff", cls=GateCommand)
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print every change as JSON.")
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Compare two versions of a data set, sample by sample; the format and the order of the files do not count.

    Exit codes: 0 the same samples, 1 different ones, 3 a file that cannot be read.

    \b
    Examples:
      evals data diff questions-1.jsonl questions-2.parquet
    """
    found = diffs.diff(dataset.load(old), dataset.load(new))
    if as_json:
        click.echo(msgspec.json.encode({"same": found.same, **msgspec.to_builtins(found)}))
    else:
        for line in _lines(found):
            click.echo(line)
    raise click.exceptions.Exit(0 if found.same else 1)


def _lines(found: diffs.Difference) -> list[str]:
    """A difference for people."""
    if found.same:
        return [f"the same {found.new_samples} samples: {found.new_digest}"]
    counts = f"{len(found.added)} added, {len(found.removed)} removed, {len(found.changed)} changed"
    lines = [f"samples: {found.old_samples} -> {found.new_samples} ({counts})"]
    marks = [f"+ {each}" for each in found.added] + [f"- {each}" for each in found.removed]
    for each, changes in found.changed.items():
        marks += [f"~ {each}: {change.field}: {_value(change.old)} -> {_value(change.new)}" for change in changes]
    lines += marks[:_MOST_CHANGES]
    if len(marks) > _MOST_CHANGES:
        lines.append(f"  and {len(marks) - _MOST_CHANGES} more (--json: all)")
    if found.clusters[0] != found.clusters[1]:
        lines.append(f"clusters: {found.clusters[0]} -> {found.clusters[1]}")
    lines += [f"tag {tag}: {before} -> {after}" for tag, (before, after) in found.tags.items()]
    return [*lines, f"digest: {found.old_digest} -> {found.new_digest}"]


def _value(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


@data.command("convert", cls=Command)
@click.argument("source", type=_FILE)
@click.argument("target", type=_FILE)
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def convert(source: Path, target: Path, force: bool) -> None:
    """Write a data set in another format. Its digest stays the same.

    \b
    Examples:
      evals data convert questions.csv questions.parquet
    """
    loaded = dataset.load(source)
    if target.exists() and not force:
        raise InputError(f"{str(target)!r} is there already: name another file, or overwrite it with --force")
    dataset.save(target, loaded.samples)
    written = dataset.load(target)
    if written.digest != loaded.digest:
        raise InputError(f"{str(target)!r} came out as {written.digest}, not {loaded.digest}: keep {str(source)!r}")
    click.echo(f"{len(written.samples)} samples in {str(target)!r}: {written.digest}")
