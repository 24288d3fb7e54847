#!/usr/bin/env python3
"""Generate the Orbit FAQ: closed-domain questions about an imaginary service, in a training and a held-out split.

The facts and the pieces of wording are data (``domain.json``). A question is a *core* ("the price of the Team plan")
inside a *frame* ("Tell me {c}."). Every fact trains on some of its cores in some frames. Its held-out questions are
made of pieces the fact never showed together: a new frame, a new pair, a core seen only with other facts, or both new.
"""

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SEED = 1871
TRAIN_CORES = 7
TRAIN_ROWS = 10
# One entry per held-out question of a fact: which part of its wording is new to the fact.
HELDOUT_KINDS = ("new-frame", "new-frame", "new-pair", "new-core", "new-both", "new-both")

Row = dict[str, Any]


@dataclass(frozen=True)
class Fact:
    """One fact: a cluster of questions that share one answer."""

    cluster: str
    family: str
    answer: str
    tags: tuple[str, ...]
    names: tuple[str, ...]
    wordings: dict[str, list[str]]


@dataclass(frozen=True)
class Core:
    """The part of a question that says what is asked, and the kind of frame it fits in."""

    kind: str
    text: str


def slug(text: str) -> str:
    """Return ``text`` as lower-case words joined by dashes, fit for an id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def normal(text: str) -> str:
    """Return ``text`` without case, punctuation and spacing, so that near-identical wordings compare equal."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def facts(domain: dict[str, Any]) -> Iterator[Fact]:
    """Yield every fact of the domain, in the order of the file."""
    for family, spec in domain["families"].items():
        aliases = spec.get("names", {})
        for field, form in spec["fields"].items():
            for entity, value in form["values"].items():
                yield Fact(
                    cluster=f"{family}.{slug(entity)}.{field}",
                    family=family,
                    answer=form["answer"].format(e=entity, v=value),
                    tags=tuple(form["tags"]),
                    names=tuple(aliases.get(entity, [entity])),
                    wordings=form["wordings"],
                )


def cores(fact: Fact, rng: random.Random) -> list[Core]:
    """Return every core of a fact in random order, alternating its names so that training shows each of them."""
    columns = []
    for name in fact.names:
        column = [Core(kind, text.format(e=name)) for kind, texts in fact.wordings.items() for text in texts]
        rng.shuffle(column)
        columns.append(column)
    return [core for row in zip(*columns, strict=True) for core in row]


def ask(frame: str, core: Core) -> str:
    """Put a core into a frame; ``{l}`` stands for the core with a small first letter."""
    return frame.format(c=core.text, l=core.text[:1].lower() + core.text[1:])


def pick(options: list[str], taken: set[str], rng: random.Random, what: str) -> str:
    """Return a random option whose normal form is not taken yet, and mark it as taken."""
    free = [text for text in options if normal(text) not in taken]
    if not free:
        raise ValueError(f"no unused wording left for {what}")
    choice = rng.choice(free)
    taken.add(normal(choice))
    return choice


def train_questions(
    fact: Fact, known: list[Core], frames: dict[str, Any], taken: set[str], rng: random.Random
) -> list[str]:
    """Return the training questions of a fact: its known cores in turn, each time in another training frame."""
    return [
        pick([ask(frame, core) for frame in frames[core.kind]["train"]], taken, rng, fact.cluster)
        for core in (known[i % len(known)] for i in range(TRAIN_ROWS))
    ]


def heldout_question(
    kind: str, known: list[Core], unknown: list[Core], frames: dict[str, Any], taken: set[str], rng: random.Random
) -> str:
    """Return one held-out question of the given kind that was not used before."""
    pool = known if kind in ("new-frame", "new-pair") else unknown
    split = "heldout" if kind in ("new-frame", "new-both") else "train"
    return pick([ask(frame, core) for core in pool for frame in frames[core.kind][split]], taken, rng, kind)


def row(fact: Fact, split: str, number: int, question: str, tags: tuple[str, ...]) -> Row:
    """Return one line of the data set."""
    return {
        "id": f"{fact.cluster}.{split[0]}{number:02d}",
        "input": question,
        "reference": fact.answer,
        "tags": list(tags),
        "cluster": fact.cluster,
    }


def build(domain: dict[str, Any], rng: random.Random) -> dict[str, list[Row]]:
    """Return both splits. ``taken`` spans the facts, so no wording occurs twice in the whole data set."""
    frames = domain["frames"]
    taken: set[str] = set()
    every = [(fact, cores(fact, rng)) for fact in facts(domain)]
    train = []
    for fact, found in every:
        texts = train_questions(fact, found[:TRAIN_CORES], frames, taken, rng)
        train += [row(fact, "train", i, text, fact.tags) for i, text in enumerate(texts, 1)]
    heldout = []
    for fact, found in every:
        for i, kind in enumerate(HELDOUT_KINDS, 1):
            text = heldout_question(kind, found[:TRAIN_CORES], found[TRAIN_CORES:], frames, taken, rng)
            heldout.append(row(fact, "heldout", i, text, (*fact.tags, kind)))
    return {"train": train, "heldout": heldout}


def problems(splits: dict[str, list[Row]]) -> list[str]:
    """Return what is wrong with the data set: repeated ids, leaked wordings, facts missing from a split."""
    found = []
    rows = [r for part in splits.values() for r in part]
    if len({r["id"] for r in rows}) < len(rows):
        found.append("an id occurs twice")
    if {normal(r["input"]) for r in splits["train"]} & {normal(r["input"]) for r in splits["heldout"]}:
        found.append("a held-out wording occurs in training")
    if {r["cluster"] for r in splits["train"]} != {r["cluster"] for r in splits["heldout"]}:
        found.append("the splits do not hold the same facts")
    answers = {(r["cluster"], r["reference"]) for r in rows}
    if len(answers) != len({r["cluster"] for r in rows}):
        found.append("a fact has two answers")
    return found


def lines(rows: list[Row]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(r, ensure_ascii=True) + "\n" for r in rows)


def main() -> int:
    """Write the two files, or check that the ones on disk are what would be written."""
    parser = argparse.ArgumentParser(description="Write train.jsonl and heldout.jsonl of the Orbit FAQ.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to or to check (default: this folder)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the files on disk differ")
    args = parser.parse_args()
    domain = json.loads((HERE / "domain.json").read_text(encoding="utf-8"))
    splits = build(domain, random.Random(SEED))
    found = problems(splits)
    for name, rows in splits.items():
        path = args.out / f"{name}.jsonl"
        if not args.check:
            path.write_text(lines(rows), encoding="utf-8", newline="\n")
        elif not path.is_file() or path.read_bytes() != lines(rows).encode():
            found.append(f"{path.name} is not what this program writes")
        print(f"{path.name}: {len(rows)} questions, {len({r['cluster'] for r in rows})} facts")
    for text in found:
        print(f"error: {text}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
