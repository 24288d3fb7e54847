"""The table of a run of the harnesses, in Markdown. Values are medians of the rounds."""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.harnesses import OURS

BEGIN, END = "<!-- harnesses: written by python -m benchmarks.harness --all -->", "<!-- end of the harnesses -->"
NOISY = 0.15
Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """The rows of a file of measurements."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def figures(rows: Sequence[Row], name: str) -> dict[str, float] | None:
    """The medians of one harness over its rounds; None when no round of it counts.

    `marginal` is samples/s without the start: what the samples beyond the short run took, in the same round. A round
    whose full run was no longer than its short one was too short to say anything.
    """
    rounds: dict[int, dict[str, Row]] = {}
    for row in rows:
        if row["kind"] == "run" and row["harness"] == name and row["good"]:
            rounds.setdefault(row["round"], {})[row["size"]] = row
    pairs = [(sizes["short"], sizes["full"]) for sizes in rounds.values() if len(sizes) == 2]
    pairs = [(short, full) for short, full in pairs if full["wall_s"] > short["wall_s"]]
    if not pairs:
        return None

    def middle(value: Callable[[Row, Row], float]) -> float:
        return statistics.median(value(short, full) for short, full in pairs)

    return {
        "marginal": middle(lambda s, f: (f["samples"] - s["samples"]) / (f["wall_s"] - s["wall_s"])),
        "whole": middle(lambda s, f: f["samples"] / f["wall_s"]),
        "start_s": middle(lambda s, f: s["wall_s"]),
        "wall_s": middle(lambda s, f: f["wall_s"]),
        "cpu_ms": middle(lambda s, f: 1e3 * (f["cpu_s"] - s["cpu_s"]) / (f["samples"] - s["samples"])),
        "peak_mb": middle(lambda s, f: f["peak_mb"]),
        "rounds": len(pairs),
    }


def write(rows: Sequence[Row]) -> str:
    """Everything that was measured, as Markdown."""
    machine = next(row for row in rows if row["kind"] == "machine")
    names = list(dict.fromkeys(row["harness"] for row in rows if row["kind"] == "run"))
    found = {name: value for name in names if (value := figures(rows, name)) is not None}
    lines = [
        "| harness | samples/s, no start | samples/s, whole run | start s | whole run s | CPU ms/sample | peak MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, value in sorted(found.items(), key=lambda item: -item[1]["marginal"]):
        version = next(row["version"] for row in rows if row.get("harness") == name)
        lines.append(
            f"| {name} {version} | {value['marginal']:,.0f} | {value['whole']:,.0f} | {value['start_s']:.2f} | "
            f"{value['wall_s']:.2f} | {value['cpu_ms']:.2f} | {value['peak_mb']:,.0f} |"
        )
    lines += ["", *_ratios(found), *_statistics(rows), *_notes(rows, machine)]
    return "\n".join(lines)


def _ratios(found: dict[str, dict[str, float]]) -> list[str]:
    peers = {name: value for name, value in found.items() if name != OURS}
    if OURS not in found or not peers:
        return []
    parts = []
    for key, what in (("marginal", "samples/s without start"), ("whole", "samples/s of a whole run")):
        best = max(peers, key=lambda name: peers[name][key])
        parts.append(f"{found[OURS][key] / peers[best][key]:.1f} times the {what} of the best of them ({best})")
    least = min(peers, key=lambda name: peers[name]["peak_mb"])
    parts.append(f"{found[OURS]['peak_mb'] / peers[least]['peak_mb']:.2f} of the memory of the smallest ({least})")
    return [f"Tollgate's `evals run`: {'; '.join(parts)}.", ""]


def _statistics(rows: Sequence[Row]) -> list[str]:
    steps = [row for row in rows if row["kind"] == "statistics"]
    if not steps:
        return []
    titles = list(dict.fromkeys(row["step"] for row in steps))
    middle = {title: statistics.median(row["cpu_s"] for row in steps if row["step"] == title) for title in titles}
    samples = max(row["samples"] for row in steps)
    lines = [f"| statistics of two runs of {samples:,} samples | CPU s |", "|---|---:|"]
    return [*lines, *(f"| {title} | {seconds:.2f} |" for title, seconds in middle.items()), ""]


def _notes(rows: Sequence[Row], machine: Row) -> list[str]:
    runs = [row for row in rows if row["kind"] == "run"]
    sizes = sorted({row["samples"] for row in runs})
    noisy = [row for row in runs if row["foreign"] > NOISY]
    place = f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; Python {machine['python']}"
    counted = f"{len(runs)} runs of {' and '.join(f'{size:,}' for size in sizes)} samples"
    notes = [
        f"- Measured {machine['measured']} on {place}; {machine['concurrency']} requests at a time.",
        f"- {counted}, {len(noisy)} of them disturbed by others (more than {NOISY} cores).",
    ]
    notes += [f"- {row['harness']} was left out: {row['reason']}" for row in rows if row["kind"] == "left_out"]
    bad = [row for row in runs if not row["good"]]
    notes += [f"- {row['harness']}, round {row['round'] + 1}, does not count: {row['problem']}" for row in bad]
    return notes


def insert(path: Path, report: str) -> None:
    """Put a report between the marks of a Markdown file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{after}", encoding="utf-8")
