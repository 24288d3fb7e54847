"""Documents and the chunks they are cut into.

A corpus is a JSON Lines file, one `{"id": ..., "text": ..., "title": ..., "metadata": {...}}` a line (the last two may
be left out), or a folder: each `.md` and `.txt` file in it is a document, its path in the folder the id.

The n-th chunk of a document has the id `document#n`, counted from 0. Where the document has a title, every chunk begins
with it, for a piece from the middle rarely says what it is about.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evals.retrieval_config import ChunkerConfig
from gateway.contracts import documents
from gateway.contracts.errors import Mistake

_SUFFIXES = (".md", ".txt")
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")

Span = tuple[int, int]
"""Where a chunk begins and ends in its document's text, in characters."""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text of a corpus."""

    id: str
    text: str
    title: str | None = None
    metadata: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, as it is embedded and as a model reads it; `sha256` is over the text's UTF-8 bytes."""

    id: str
    document: str
    text: str
    sha256: str


def load(path: Path) -> tuple[Document, ...]:
    """Read and check a corpus, sorted by id. Raises DocumentError with every mistake and its line."""
    found, mistakes = _folder(path) if path.is_dir() else _lines(path)
    if not found and not mistakes:
        what = "a file that ends in .md or .txt" if path.is_dir() else 'one {"id": ..., "text": ...} a line'
        mistakes = [Mistake(1, "", f"no documents: expected {what}")]
    if mistakes:
        raise documents.refused(path, mistakes)
    return tuple(sorted(found, key=lambda document: document.id))


def chunks(corpus: Iterable[Document], chunker: ChunkerConfig) -> list[Chunk]:
    """All chunks of a corpus, in the order of its documents. Each document has one at least."""
    return [chunk for document in corpus for chunk in _of(document, chunker)]


def spans(text: str, chunker: ChunkerConfig) -> list[Span]:
    """Where a text is cut: every character that is no white space lies in a span, and no span is longer than `size`."""
    whole = (0, len(text))
    if chunker.size is None:
        return [whole]
    if chunker.by == "characters":
        return list(_windows(text, whole, chunker.size, chunker.overlap or 0))
    return list(_paragraphs(text, chunker.size))


def _of(document: Document, chunker: ChunkerConfig) -> Iterator[Chunk]:
    title = f"{document.title.strip()}\n" if document.title and document.title.strip() else ""
    pieces = [document.text[start:end].strip() for start, end in spans(document.text, chunker)]
    for number, piece in enumerate(piece for piece in pieces if piece):
        text = title + piece
        yield Chunk(f"{document.id}#{number}", document.id, text, hashlib.sha256(text.encode()).hexdigest())


def _windows(text: str, within: Span, size: int, overlap: int) -> Iterator[Span]:
    """Pieces of at most `size` characters. A cut moves back to white space, at most by half a piece."""
    start, end = within
    while end - start > size:
        cut = start + size
        blank = next((i for i in range(cut, start + size // 2, -1) if text[i].isspace()), cut)
        yield start, blank
        start = _begin(text, blank, overlap)
        while start < end and text[start].isspace():
            start += 1
    if text[start:end].strip():
        yield start, end


def _begin(text: str, cut: int, overlap: int) -> int:
    """Where the piece after a cut begins: up to `overlap` characters before it, at the beginning of a word."""
    back = cut - overlap
    if not overlap or text[back - 1].isspace():
        return back
    return next((i + 1 for i in range(back, cut) if text[i].isspace()), back)


def _paragraphs(text: str, size: int) -> Iterator[Span]:
    """Neighbouring paragraphs, joined while they fit."""
    held: Span | None = None
    for start, end in _blocks(text):
        if held is not None and end - held[0] <= size:
            held = (held[0], end)
            continue
        if held is not None:
            yield held
        *cut, last = _windows(text, (start, end), size, 0)
        yield from cut
        held = last
    if held is not None:
        yield held


def _blocks(text: str) -> Iterator[Span]:
    start = 0
    for gap in _PARAGRAPH.finditer(text):
        if text[start : gap.start()].strip():
            yield start, gap.start()
        start = gap.end()
    if text[start:].strip():
        yield start, len(text)


def _folder(path: Path) -> tuple[list[Document], list[Mistake]]:
    found: list[Document] = []
    mistakes: list[Mistake] = []
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.suffix not in _SUFFIXES or not file.is_file() or any(part.startswith(".") for part in name.split("/")):
            continue
        document = Document(name, documents.read_text(file))
        wrong = _wrong(document)
        if wrong:
            mistakes.append(Mistake(1, name, wrong))
        found.append(document)
    return found, mistakes


def _lines(path: Path) -> tuple[list[Document], list[Mistake]]:
    found: dict[str, tuple[int, Document]] = {}
    mistakes: list[Mistake] = []
    for number, line in enumerate(documents.read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            document = msgspec.json.decode(line, type=Document)
        except (msgspec.DecodeError, RecursionError) as error:
            expected = "expected id and text, and perhaps title and metadata"
            mistakes.append(Mistake(number, "", f"not a document: {error}; {expected}"))
            continue
        wrong = _wrong(document)
        if document.id in found:
            wrong = f"duplicate id {document.id!r}: line {found[document.id][0]} has it too"
        if wrong:
            mistakes.append(Mistake(number, "", wrong))
            continue
        found[document.id] = (number, document)
    return [document for _, document in found.values()], mistakes


def _wrong(document: Document) -> str:
    """What is wrong with a document; empty when nothing is."""
    if not document.id.strip():
        return "the id is empty"
    if "#" in document.id:
        return f"the id {document.id!r} has a '#', which separates a document from the number of its chunk: rename it"
    return "" if document.text.strip() else f"document {document.id!r} is blank: fill it, or leave it out"
