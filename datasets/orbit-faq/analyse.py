#!/usr/bin/env python3
"""Turn ``study.json`` into ``STUDY.md``: how seeds differ, what degrading costs, and the margin that follows.

Standard library only; questions are clustered by fact.
"""

import argparse
import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any

HERE = Path(__file__).resolve().parent
COMMANDS = """\
    python study.py --work DIR    # trains and measures; needs torch and transformers
    python analyse.py             # standard library only"""
RETRAINED = "Two good seeds can differ by more than the margin: a retrained model has to pass the gate like any change."
ALPHA, POWER, STEP = 0.05, 0.8, 0.01


@dataclass(frozen=True)
class Paired:
    """A paired difference of exact matches with its cluster-robust spread."""

    n: int
    clusters: int
    mean: float
    sd: float
    deff: float
    icc: float
    se: float

    @property
    def half(self) -> float:
        """The one-sided 95 % half-width: a t quantile with clusters - 1 degrees of freedom, by its expansion."""
        z, df = NormalDist().inv_cdf(1 - ALPHA), self.clusters - 1
        return (z + (z**3 + z) / (4 * df)) * self.se

    @property
    def lower(self) -> float:
        """The one-sided lower bound."""
        return self.mean - self.half

    @property
    def upper(self) -> float:
        """The one-sided upper bound."""
        return self.mean + self.half


def paired(before: str, after: str, clusters: list[str]) -> Paired:
    """Return the difference ``after - before`` of two strings of marks, question by question."""
    diffs = [int(b) - int(a) for a, b in zip(before, after, strict=True)]
    groups: dict[str, list[int]] = {}
    for cluster, d in zip(clusters, diffs, strict=True):
        groups.setdefault(cluster, []).append(d)
    n, c, mean, sd = len(diffs), len(groups), fmean(diffs), stdev(diffs)
    between = sum(sum(d - mean for d in group) ** 2 for group in groups.values())
    se = math.sqrt(c / (c - 1) * between) / n
    size = n / c
    deff = (se / (sd / math.sqrt(n))) ** 2 if sd else 1.0
    return Paired(n, c, mean, sd, deff, (deff - 1) / (size - 1), se)


def smallest_margin(sd: float, n_eff: float) -> float:
    """Return the margin that a one-sided test proves with the wanted power when nothing has changed."""
    return (NormalDist().inv_cdf(1 - ALPHA) + NormalDist().inv_cdf(POWER)) * sd / math.sqrt(n_eff)


def planned_power(margin: float, sd: float, n_eff: float) -> float:
    """Return the probability to pass with no true difference."""
    return NormalDist().cdf(margin * math.sqrt(n_eff) / sd - NormalDist().inv_cdf(1 - ALPHA))


def share(marks: str) -> float:
    """Return the share of exact matches."""
    return marks.count("1") / len(marks)


def plan(study: dict[str, Any], clusters: list[str]) -> dict[str, Any]:
    """Return every derived figure: the pairs of seeds, the damage of every seed, the plan of the gate."""
    runs = study["runs"]
    pairs = [
        (a["seed"], b["seed"], paired(a["good"]["heldout"], b["good"]["heldout"], clusters))
        for a, b in itertools.combinations(runs, 2)
    ]
    damage = [(r, paired(r["good"]["heldout"], r["degraded"]["heldout"], clusters)) for r in runs]
    seen = [p for *_, p in pairs] + [p for _, p in damage]
    sd, deff = max(p.sd for p in seen), max(1.0, *(p.deff for p in seen))
    n = len(clusters)
    least = smallest_margin(sd, n / deff)
    margin = round(math.ceil(round(least / STEP, 9)) * STEP, 6)
    by_score = sorted(runs, key=lambda r: (share(r["good"]["heldout"]), r["seed"]))
    return {
        "pairs": pairs,
        "damage": damage,
        "n": n,
        "clusters": len(set(clusters)),
        "sd": sd,
        "deff": deff,
        "n_eff": n / deff,
        "least": least,
        "margin": margin,
        "power": planned_power(margin, sd, n / deff),
        "chosen": by_score[(len(by_score) - 1) // 2]["seed"],
    }


def seed_table(found: dict[str, Any]) -> list[str]:
    """Return the table of seeds, good and degraded."""
    head = "seed|training s|trained: good|degraded|held-out: good|degraded|difference|SE|95 % lower|upper|sd|deff"
    out = [f"| {head.replace('|', ' | ')} |", "|---" * 12 + "|"]
    for r, d in found["damage"]:
        good, bad = r["good"], r["degraded"]
        out.append(
            f"| {r['seed']} | {r['train_seconds']:.0f} | {share(good['train']):.3f} | {share(bad['train']):.3f}"
            f" | {share(good['heldout']):.4f} | {share(bad['heldout']):.4f} | {d.mean:+.4f} | {d.se:.4f}"
            f" | {d.lower:+.4f} | {d.upper:+.4f} | {d.sd:.3f} | {d.deff:.2f} |"
        )
    return out


def careful_table(study: dict[str, Any], found: dict[str, Any], clusters: list[str]) -> list[str]:
    """Return the table of roundings that should pass: the lowest lower bound of the seeds, and how many pass."""
    out = ["| bits | differences | lowest 95 % lower | pass |", "|---|---|---|---|"]
    runs = study["runs"]
    for bits in runs[0]["careful"]:
        diffs = [paired(r["good"]["heldout"], r["careful"][bits]["heldout"], clusters) for r in runs]
        means = " ".join(f"{d.mean:+.4f}" for d in diffs)
        passed = sum(d.lower >= -found["margin"] for d in diffs)
        out.append(f"| {bits} | {means} | {min(d.lower for d in diffs):+.4f} | {passed} of {len(runs)} |")
    return out


def pair_table(found: dict[str, Any]) -> list[str]:
    """Return the table of good seeds against each other."""
    out = ["| seeds | difference | SE | sd of differences | ICC | deff |", "|---|---|---|---|---|---|"]
    for a, b, d in found["pairs"]:
        out.append(f"| {a} → {b} | {d.mean:+.4f} | {d.se:.4f} | {d.sd:.4f} | {d.icc:.3f} | {d.deff:.2f} |")
    return out


def introduction(study: dict[str, Any], found: dict[str, Any]) -> str:
    """Return how the figures came about."""
    machine = study["machine"]
    return (
        f"Measured on {machine['cores']} cores, {machine['python']}, torch {machine['torch']}, {machine['threads']} "
        f"threads, {study['steps']} steps. Greedy decoding, exact match. Held-out: {found['n']} questions about "
        f"{found['clusters']} facts; trained: a fixed sample of {len(study['runs'][0]['good']['train'])} questions. "
        "The machine did other work at times, which shows in the training seconds. Questions and bits were settled on "
        "seed 0; the other seeds were measured afterwards."
    )


def damage(study: dict[str, Any], found: dict[str, Any]) -> str:
    """Return what the table of the degraded siblings says."""
    runs, m = len(study["runs"]), found["margin"]
    uppers = [d.upper for _, d in found["damage"]]
    missed = sum(d.lower < -m for _, d in found["damage"])
    least = min(share(r["degraded"]["train"]) for r in study["runs"])
    return (
        f"On questions it was trained on, every degraded model still answers at least {least:.3f}: looking there, "
        f"nobody notices. On held-out questions {sum(u < 0 for u in uppers)} of {runs} siblings are proven worse "
        f"(upper bound below 0), {missed} of {runs} fail the gate (lower bound below −{m:g}), and "
        f"{sum(u < -m for u in uppers)} of {runs} are proven worse by more than the margin (upper bound below −{m:g}); "
        f"the highest upper bound is {max(uppers):+.4f}."
    )


def margin(found: dict[str, Any]) -> str:
    """Return how the margin follows from the pairs of seeds."""
    return (
        f"The plan takes the largest sd ({found['sd']:.4f}) and the largest design effect ({found['deff']:.2f}) of "
        f"both tables. Effective sample: {found['n']} / {found['deff']:.2f} = {found['n_eff']:.0f}. A one-sided "
        f"non-inferiority test at alpha {ALPHA} reaches power {POWER} at a true difference of zero with a margin of "
        f"(1.645 + 0.842) × sd / √n_eff = {found['least']:.4f}, rounded up to a multiple of {STEP}:"
    )


def report(study: dict[str, Any], found: dict[str, Any], clusters: list[str]) -> str:
    """Return the text of STUDY.md."""
    blocks = [
        "# Seed study of the Orbit FAQ",
        "Written by `analyse.py` from `study.json`, which holds the mark of every question. To reproduce:",
        COMMANDS,
        introduction(study, found),
        f"## The degraded sibling: {study['bits']} bits, one scale a matrix",
        "Degraded − good on the held-out questions, paired. SE clustered by fact, bounds one-sided.",
        "\n".join(seed_table(found)),
        damage(study, found),
        "## Good seeds against each other",
        "\n".join(pair_table(found)),
        "## The margin",
        margin(found),
        f"**margin {found['margin']:g}, planned power {found['power']:.3f}**",
        "The gate's own bound asks for more than a normal one: `evals plan` gives its power at this margin.",
        "## Roundings that should pass",
        "Degraded by the same program, but to more bits; the gate should let them through.",
        "\n".join(careful_table(study, found, clusters)),
        "## The committed model",
        f"It is seed {found['chosen']}: the middle one by held-out exact match, not the best.",
        RETRAINED,
    ]
    return "\n\n".join(blocks) + "\n"


def main() -> int:
    """Write STUDY.md, or check it."""
    parser = argparse.ArgumentParser(description="Write STUDY.md from study.json.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if STUDY.md differs")
    args = parser.parse_args()
    study = json.loads((HERE / "study.json").read_text(encoding="utf-8"))
    rows = (HERE / "heldout.jsonl").read_text(encoding="utf-8").splitlines()
    clusters = [json.loads(line)["cluster"] for line in rows]
    text = report(study, plan(study, clusters), clusters)
    path = HERE / "STUDY.md"
    if not args.check:
        path.write_text(text, encoding="utf-8", newline="\n")
        print(text)
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        print("error: STUDY.md is not what this program writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
