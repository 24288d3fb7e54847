"""Write recite.jsonl: sentences to be repeated word for word, which any instructed model can do.

It stands in where a running engine does not know the demo's own subject: a model that repeats faithfully scores near
1, and a release that cuts its answers short scores 0, without raising an error.
"""

import argparse
import json
import random
import sys
from pathlib import Path

FILE = Path(__file__).with_name("recite.jsonl")
ROWS = 400
SEED = 20261122
COLOURS = [
    "amber",
    "blue",
    "crimson",
    "golden",
    "green",
    "grey",
    "indigo",
    "ivory",
    "orange",
    "purple",
    "silver",
    "violet",
    "white",
    "yellow",
]
THINGS = [
    "basket",
    "boat",
    "bridge",
    "candle",
    "castle",
    "clock",
    "garden",
    "harbour",
    "kettle",
    "ladder",
    "lantern",
    "mirror",
    "river",
    "tower",
]
VERBS = [
    "carries",
    "circles",
    "crosses",
    "finds",
    "follows",
    "guards",
    "hides",
    "holds",
    "leaves",
    "meets",
    "paints",
    "passes",
    "repairs",
    "watches",
]
PLACES = [
    "market",
    "meadow",
    "mountain",
    "museum",
    "orchard",
    "palace",
    "station",
    "stream",
    "theatre",
    "valley",
    "village",
    "workshop",
]
TIMES = ["before sunrise", "at noon", "after lunch", "late in autumn", "on quiet Sundays", "every second winter"]


def rows(draw: random.Random) -> list[dict[str, object]]:
    """ROWS distinct sentences, each a cluster of its own."""
    seen: dict[str, None] = {}
    while len(seen) < ROWS:
        first, second = draw.sample(THINGS, 2)
        one, two = draw.sample(COLOURS, 2)
        place, time = draw.choice(PLACES), draw.choice(TIMES)
        seen[f"The {one} {first} {draw.choice(VERBS)} one {two} {second} near our {place} {time}."] = None
    return [
        {
            "id": f"recite.{number:03d}",
            "input": f"Repeat this sentence exactly, and write nothing else: {sentence}",
            "reference": sentence,
            "tags": ["recite"],
        }
        for number, sentence in enumerate(seen)
    ]


def main() -> None:
    """Write the file, or check that it is what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    text = "".join(json.dumps(row) + "\n" for row in rows(random.Random(SEED)))
    if not parser.parse_args().check:
        FILE.write_text(text)
    elif FILE.read_text() != text:
        sys.exit(f"{FILE.name} differs from what this program writes")


if __name__ == "__main__":
    main()
