"""Questions that stand in a corpus, word for word: in the text a model was trained on, or in what a retriever searches.

A document of the corpus is a text file, or a row of a JSON Lines, CSV or Parquet file. A question stands in it when it
is one of its texts (a value, a line), whatever its length, or when it has at least `RUN` words and they stand there one
after the other; punctuation and case do not count. It stands in it for the most part when `MOSTLY` of its runs of `RUN`
words do. Answers are not sought: a corpus to search is meant to hold them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evals.dataset import parquet
from evals.dataset.findings import Finding
from evals.dataset.folding import asked, fold, words
from evals.dataset.formats import csv_rows
from evals.schema import Sample
from gateway.contracts.errors import InputError

RUN = 5
MOSTLY = 0.8
_LEAST_RUNS = 4
"""Fewer runs than this say nothing about the most part of a question."""
_TEXTS = frozenset({".txt", ".md", ".rst", ".html", ".json"})
_ROWS = frozenset({".jsonl", ".ndjson", ".csv", ".parquet"})
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of a corpus: where it lies, and its texts."""

    name: str
    texts: tuple[str, ...]


def documents(paths: Iterable[Path], leave_out: Path, on_file: Callable[[Path], None]) -> Iterator[Document]:
    """The documents of files and folders, without the data set itself and without files of other kinds.

    Raises InputError for a path that does not exist, a file that is not what its suffix says, and an empty corpus.
    """
    found = False
    for path in paths:
        for file in files(path):
            if file.resolve() == leave_out.resolve():
                continue
            on_file(file)
            for document in _read(file):
                found = True
                yield document
    if not found:
        kinds = ", ".join(sorted(_TEXTS | _ROWS))
        raise InputError(f"--corpus: expected files of the kinds {kinds}; found none that holds a text")


def files(path: Path) -> list[Path]:
    """The files of a corpus, sorted by name. Raises InputError for a path that does not exist."""
    if not path.exists():
        raise InputError(f"--corpus: {str(path)!r}: no such file or folder")
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in _TEXTS | _ROWS)
    return [path]


def _read(file: Path) -> Iterator[Document]:
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        rows: Iterable[Any] = parquet.texts(file)
    elif suffix == ".csv":
        rows = (row for _, row in csv_rows(file))
    else:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--corpus: {str(file)!r}: expected text in UTF-8: {error}") from error
        if suffix not in _ROWS and suffix != ".json":
            yield Document(str(file), (text, *text.splitlines()))
            return
        rows = _rows(file, text, suffix)
    for number, row in enumerate(rows, start=1):
        yield Document(f"{file}, row {number}", tuple(_texts_in(row)))


def _rows(file: Path, text: str, suffix: str) -> Iterable[Any]:
    try:
        if suffix == ".json":
            return [msgspec.json.decode(text)]
        return [msgspec.json.decode(line) for line in text.split("\n") if line.strip()]
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"--corpus: {str(file)!r}: not valid JSON: {error}") from error


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        # An id such as `plan.free.price` is no text, though it has the words of one.
        if not value.isascii() or len(value.split()) > 1:
            yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(part)


def check(samples: Iterable[Sample], corpus: Iterable[Document]) -> list[Finding]:
    """Samples whose question stands in a corpus: an error when all of it does, a warning when most of it does."""
    sought = {sample.id: fold(asked(sample)) for sample in samples}
    by_text: dict[str, list[str]] = {}
    for sample_id, text in sought.items():
        by_text.setdefault(text, []).append(sample_id)
    runs = {text: set(_runs(words(text))) for text in by_text}
    index: dict[tuple[str, ...], list[str]] = {}
    for text, its in runs.items():
        for run in its:
            index.setdefault(run, []).append(text)
    whole: dict[str, str] = {}
    most: dict[str, tuple[float, str]] = {}
    for document in corpus:
        parts = [words(part) for part in document.texts]
        folded = {" ".join(part) or raw.strip() for part, raw in zip(parts, document.texts, strict=True)}
        for text in folded & by_text.keys():
            whole.setdefault(text, document.name)
        for text, share in _shares(parts, index, runs):
            if share == 1.0 and any(f" {text} " in f" {part} " for part in folded):
                whole.setdefault(text, document.name)
            elif len(runs[text]) >= _LEAST_RUNS and share > most.get(text, (0.0, ""))[0]:
                most[text] = share, document.name
    return list(_findings(by_text, whole, most))


def _runs(found: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(found[start:] for start in range(RUN)), strict=False)


def _shares(
    parts: list[list[str]], index: dict[tuple[str, ...], list[str]], runs: dict[str, set[tuple[str, ...]]]
) -> Iterator[tuple[str, float]]:
    """The texts of which a document has at least `MOSTLY` of the runs, and how many: (0, 1]."""
    here: set[tuple[str, ...]] = set()
    for part in parts:
        here.update(_runs(part))
    counts = Counter(text for run in here & index.keys() for text in index[run])
    for text, count in counts.items():
        share = count / len(runs[text])
        if share >= MOSTLY:
            yield text, share


def _findings(
    by_text: dict[str, list[str]], whole: dict[str, str], most: dict[str, tuple[float, str]]
) -> Iterator[Finding]:
    for text, ids in by_text.items():
        shown = repr(text if len(text) <= _SHOWN else "…" + text[-_SHOWN:])
        listed = ", ".join(map(repr, ids))
        if text in whole:
            message = (
                f"{listed}: the question {shown} stands in {whole[text]}, word for word: take it out of one of them"
            )
            yield Finding(level="error", code="in-corpus", message=message, samples=ids)
        elif text in most:
            share, name = most[text]
            message = f"{listed}: {share:.0%} of the question {shown} stands in {name}"
            yield Finding(level="warning", code="in-corpus", message=message, samples=ids)
