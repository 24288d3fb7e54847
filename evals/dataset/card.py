"""The card of a data set: `card.yaml` beside its files. Whose it is, how it was made, and what is frozen.

    name: support-questions
    version: 1.0.0
    owner: Support platform team
    licence: CC-BY-4.0                # or one for each part: {data: CC0-1.0, code: Apache-2.0}
    made: Tickets of spring, rewritten by hand; names and numbers replaced.
    file: questions.jsonl             # the file that `digest` and `assign` are about
    digest: sha256:...                # of its samples, as `evals data lint` prints it
    assign:                           # each cluster goes to one split, by a hash with this salt
      salt: spring
      fractions: {dev: 0.3, test: 0.7}
    splits:                           # frozen by `evals data split`
      dev: {digest: sha256:..., rows: 300, clusters: 100}
      test: {digest: sha256:..., rows: 700, clusters: 230}

A split is a part of `file`, by `assign` or with its `ids` listed, or a `file` of its own.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, field_validator, model_validator

from gateway.contracts import documents
from gateway.contracts.documents import Frozen
from gateway.contracts.errors import InputError
from gateway.contracts.release import Digest

FILE = "card.yaml"
SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Hex = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_WHOLE = 1e-9


class Assign(Frozen):
    """Splits by hash: the share of the clusters that goes to each, all together 1. A salt gives other splits."""

    salt: Text
    fractions: Annotated[dict[SplitName, Annotated[float, Field(gt=0, lt=1)]], Field(min_length=2)]

    @field_validator("fractions")
    @classmethod
    def _together(cls, value: dict[str, float]) -> dict[str, float]:
        total = math.fsum(value.values())
        if abs(total - 1.0) > _WHOLE:
            raise ValueError(f"expected fractions that are 1 together, found {total:g}")
        return value


class Split(Frozen):
    """One split: where its samples are, and what was frozen (`sha256` is of the bytes of its own file)."""

    file: Text | None = None
    ids: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    digest: Digest | None = None
    sha256: Hex | None = None
    rows: Count | None = None
    clusters: Count | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "Split":
        if self.file is not None and self.ids is not None:
            raise ValueError("expected `file` or `ids`, found both: a file of its own holds all of its samples")
        if self.sha256 is not None and self.file is None:
            raise ValueError("'sha256' is of a split's own file: write `digest`, which `evals data split` gives")
        return self


class Card(Frozen):
    """What a data set is. `row` explains fields, `files` are sha256 of other files, `more` is for your own programs."""

    name: Text
    owner: Text
    licence: Text | Annotated[dict[str, Text], Field(min_length=1)]
    made: Text
    version: str | None = None
    description: str | None = None
    language: str | None = None
    personal_data: bool | None = None
    row: dict[str, str] = Field(default_factory=dict)
    file: Text | None = None
    digest: Digest | None = None
    assign: Assign | None = None
    splits: dict[SplitName, Split] = Field(default_factory=dict)
    files: dict[str, Hex] = Field(default_factory=dict)
    more: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> "Card":
        inside = [name for name, split in self.splits.items() if split.file is None]
        if self.file is None and (self.digest or self.assign or inside):
            raise ValueError("missing key 'file': digest, assign and a split without a file of its own are about it")
        fractions = self.assign.fractions if self.assign else {}
        for name in inside:
            if self.splits[name].ids is None and name not in fractions:
                raise ValueError(f"split {name!r}: expected `file`, `ids`, or a share in assign.fractions; found none")
        for name in fractions:
            if name in self.splits and (self.splits[name].file or self.splits[name].ids):
                raise ValueError(f"split {name!r} has a share in assign.fractions, and a place of its own: keep one")
        return self

    def speaks_of(self, path: Path) -> bool:
        """Whether the card says anything about a file of its folder."""
        return path.name in {self.file, *(split.file for split in self.splits.values())} - {None}

    def inside(self) -> Iterator[str]:
        """The names of the splits that are parts of `file`."""
        yield from dict.fromkeys(
            [*(self.assign.fractions if self.assign else ()), *(n for n, s in self.splits.items() if s.file is None)]
        )


def beside(path: Path) -> Path:
    """Where the card of a data set's file lies."""
    return path.parent / FILE


def load(path: Path) -> Card | None:
    """The card beside a data set's file; None when there is none. Raises DocumentError with every mistake's line."""
    card = beside(path)
    return documents.load(card, Card) if card.exists() else None


def template(path: Path, digest: str) -> str:
    """A card to fill in."""
    return (
        f"name: {path.stem}\nowner: WHO ANSWERS FOR IT\nlicence: WHAT OTHERS MAY DO WITH IT\nmade: HOW, FROM WHAT\n"
        f"file: {path.name}\ndigest: {digest}\n"
    )


def with_keys(text: str, changes: dict[str, Any], path: str) -> str:
    """A card's text with other values of some top-level keys; everything else, comments too, stays as it is.

    Raises InputError when the text is laid out in a way that this cannot keep.
    """
    before, _ = documents.parse(text, path)
    after = None
    with suppress(InputError, yaml.YAMLError):
        for key, value in changes.items():
            text = _with_key(text, key, value)
        after, _ = documents.parse(text, path)
    if after != {**before, **changes}:
        raise InputError(
            f"{path!r} cannot be changed without losing its layout: write each top-level key on a line of its own, or "
            f"put this in yourself:\n{yaml.safe_dump(changes, sort_keys=False)}"
        )
    return text


def _with_key(text: str, key: str, value: Any) -> str:
    block = yaml.safe_dump({key: value}, sort_keys=False, width=120)
    lines = text.splitlines(keepends=True)
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    starts = [(name.value, name.start_mark.line) for name, _ in node.value] if node is not None else []
    for position, (name, start) in enumerate(starts):
        if name == key:
            end = starts[position + 1][1] if position + 1 < len(starts) else len(lines)
            # Comments above the next key belong to it.
            while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
                end -= 1
            return "".join([*lines[:start], block, *lines[end:]])
    return text + ("" if text.endswith("\n") or not text else "\n") + block
