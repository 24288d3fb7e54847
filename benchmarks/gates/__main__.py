"""Rules of gates side by side, where the truth is known: how often each passes what is worse by the margin, or equal.

    python -m benchmarks.gates                          print the table; about five minutes on one core
    python -m benchmarks.gates --write                  and put it into README.md
    python -m benchmarks.gates --only small --repeats 10000

Every rule sees the same draws. A rate has a binomial standard error of 0.007 at 0.05 and 1,000 repetitions.
"""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.gates.rules import ALPHA, RULES, Seen, p_worse
from benchmarks.gates.worlds import WORLDS, World

README = Path(__file__).resolve().parent / "README.md"
START, END = "<!-- table: written by python -m benchmarks.gates --write -->", "<!-- end of the table -->"
REPEATS = 1000


def rates(world: World, drop: float, repeats: int, seed: int) -> dict[str, float]:
    """How often each rule passes, and how often the gate fails, at a true drop."""
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    passed, failed = dict.fromkeys(RULES, 0), 0
    for _ in range(repeats):
        seen = Seen.of(world.draw(rng, drop), other)
        for name, rule in RULES.items():
            passed[name] += rule(seen, world.margin)
        failed += p_worse(seen.draw) <= ALPHA
    return {name: count / repeats for name, count in passed.items()} | {"fails": failed / repeats}


def table(names: Iterable[str], repeats: int) -> str:
    """Both truths as Markdown; false passes above alpha and three standard errors are bold."""
    allowed = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / repeats)
    columns = [*RULES, "fails"]
    parts = []
    for title, equal in (("worse by exactly the margin", False), ("equal", True)):
        last = "Tollgate says fail"
        head = "| world | margin | " + " | ".join([*RULES, last]) + " |"
        lines = [
            f"How often a release passes that is {title}:",
            "",
            head,
            "| --- " + "| ---: " * (len(RULES) + 2) + "|",
        ]
        for position, name in enumerate(names):
            world = WORLDS[name]
            found = rates(world, 0.0 if equal else world.margin, repeats, 100 + position)
            wrong = {c for c in columns if (c == "fails") == equal and found[c] > allowed}
            cells = [f"**{found[c]:.3f}**" if c in wrong else f"{found[c]:.3f}" for c in columns]
            lines.append(f"| {world.about} | {world.margin:g} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
        parts.append("\n".join(lines))
    note = (
        f"{repeats:,} repetitions each. Bold: more than {ALPHA:g} and three binomial standard errors ({allowed:.3f})."
    )
    return "\n\n".join([*parts, note])


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(WORLDS), help="a world, may be repeated")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    made = table(options.only or list(WORLDS), options.repeats)
    print(f"\n{made}")
    if options.write:
        before, _, rest = README.read_text(encoding="utf-8").partition(START)
        _, _, after = rest.partition(END)
        README.write_text(f"{before}{START}\n\n{made}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
