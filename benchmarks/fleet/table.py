"""The table of what was measured, in Markdown.

A cell is the median of the seeds, with the least and the most in brackets. Gateways are compared seed by seed, since
all got the same requests at the same moments: the difference of two medians would say less.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fleet.workload import WORKLOADS

Record = dict[str, Any]
Who = tuple[str, str]
SCORE, LEAST = ("tollgate", "score"), ("tollgate", "least_outstanding")
BEGIN, END = "<!-- table: written by python -m benchmarks.fleet -->", "<!-- end of the table -->"
REFERENCES = {"shared": (SCORE, "ttft_p90"), "unique": (LEAST, "ttft_mean"), "seldom": (LEAST, "engine_ttft_mean")}
"""Whom the others are compared with, and by what: p90 under load, and the mean where nothing is to be gained; by the
engines' own clock where requests are so rare that the machine's waking up for each is more than what is compared."""


@dataclass
class Results:
    """The runs of a file; one that was repeated counts as it was the last time."""

    machines: dict[str, Record] = field(default_factory=dict)
    runs: dict[str, dict[Who, dict[int, Record]]] = field(default_factory=dict)
    left_out: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take in one line of the file."""
        if record["kind"] == "machine":
            self.machines[record["session"]] = record
        elif record["kind"] == "left_out":
            self.left_out.append(record)
        else:
            of = self.runs.setdefault(record["workload"], {})
            of.setdefault((record["gateway"], record["policy"]), {})[record["seed"]] = record

    def differences(self, workload: str, who: Who, reference: Who, key: str) -> list[float]:
        """By how much a key is more than the reference's: one value for each seed that both have."""
        runs = self.runs.get(workload, {})
        theirs, its = runs.get(who, {}), runs.get(reference, {})
        both = [(theirs[seed][key], its[seed][key]) for seed in sorted(theirs.keys() & its.keys())]
        return [mine - other for mine, other in both if mine is not None and other is not None]

    def relative(self, workload: str, who: Who, reference: Who, key: str) -> list[float]:
        """The same as a part of the reference's value."""
        differences = self.differences(workload, who, reference, key)
        runs = self.runs.get(workload, {})
        bases = [runs[reference][seed][key] for seed in sorted(runs[who].keys() & runs.get(reference, {}).keys())]
        return [difference / base for difference, base in zip(differences, bases, strict=True)]


def read(path: Path) -> Results:
    """The records of a JSONL file."""
    results = Results()
    for line in path.read_text(encoding="utf-8").splitlines():
        results.add(json.loads(line))
    return results


def write(results: Results) -> str:
    """The whole report: a table for each workload, and what to know about it."""
    parts = [_workload(results, name) for name in WORKLOADS if name in results.runs]
    return "\n\n".join([*parts, _notes(results)])


def insert(path: Path, report: str) -> None:
    """Put a report between the marks in a Markdown file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{after}", encoding="utf-8")


def _workload(results: Results, name: str) -> str:
    workload, runs = WORKLOADS[name], results.runs[name]
    (reference, key), relative = REFERENCES[name], not workload.prefixes
    head = ["gateway, policy", "cached share", "TTFT p50 s", "TTFT p90 s"]
    head += [f"{_titles[key]} against {reference[1]}", "work, max/mean", "failed", "its core"]
    rows = []
    for who in sorted(runs, key=lambda who: _median(runs[who], "ttft_p90") or 0.0):
        compared = (results.relative if relative else results.differences)(name, who, reference, key)
        against = "–" if who == reference or not compared else _against(compared, relative)
        cells = [_cell(runs[who], each, digits) for each, digits in (("cached_share", 3), ("ttft_p50", 2))]
        cells += [_cell(runs[who], "ttft_p90", 2), against, _cell(runs[who], "balance", 2)]
        failed = sum(record["failed"] for record in runs[who].values())
        rows.append([_title(who, runs[who]), *cells, str(failed), _cell(runs[who], "gateway_cpu", 2)])
    rate = f"{workload.rate:g} requests/s, measured for {workload.hold_s:g} s"
    if workload.ramp_s:
        rate = f"climbing to {workload.rate:g} requests/s in {workload.ramp_s:g} s, then held and measured"
    seeds = max(len(of) for of in runs.values())
    return f"**{workload.title}**, {rate}; {seeds} seeds; all times simulated\n\n{_markdown(head, rows)}"


_titles = {"ttft_p90": "p90", "ttft_mean": "mean TTFT", "engine_ttft_mean": "mean TTFT in the engine"}


def _title(who: Who, runs: dict[int, Record]) -> str:
    version = next(iter(runs.values()))["version"]
    name = who[0] if version == "-" else f"{who[0]} {version}"
    return f"{name}, `{who[1]}`" if who != SCORE else f"**{name}, `{who[1]}`**"


def _against(values: Sequence[float], relative: bool) -> str:
    form: Callable[[float], str] = (lambda value: f"{value:+.1%}") if relative else _signed
    return f"{form(statistics.median(values))} ({form(min(values))} to {form(max(values))})"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if abs(value) < 100 else f"{value:+.0f}"


def _values(runs: dict[int, Record], key: str) -> list[float]:
    return [record[key] for record in runs.values() if record[key] is not None]


def _median(runs: dict[int, Record], key: str) -> float | None:
    values = _values(runs, key)
    return statistics.median(values) if values else None


def _cell(runs: dict[int, Record], key: str, digits: int) -> str:
    values = _values(runs, key)
    if not values:
        return "–"
    digits = digits if max(values) < 10 else 0
    middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def _notes(results: Results) -> str:
    every = [record for runs in results.runs.values() for of in runs.values() for record in of.values()]
    lines = []
    sessions = sorted({record["session"] for record in every})
    facts = results.machines[sessions[-1]]
    where = f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, Linux {facts['kernel']}"
    when = " to ".join(dict.fromkeys((sessions[0], sessions[-1])))
    lines.append(f"Measured {when} on {where}; Python {facts['python']}.")
    for name, runs in results.runs.items():
        scales = {who: record["scale"] for who, of in runs.items() for record in of.values()}
        most = statistics.mode(scales.values())
        others = [f"{scale:g} for {who[0]} `{who[1]}`" for who, scale in scales.items() if scale != most]
        lines.append(f"`{name}`: {'; '.join([f'{most:g} simulated seconds in a real one', *others])}.")
    for key, title in (
        ("load_late_p99", "the load sent later than due"),
        ("engine_late_p99", "an engine told what had happened later than it did"),
    ):
        values = sorted(record[key] for record in every if record[key] is not None)
        lines.append(f"In the worst run {title} by {values[-1]:.3f} s at p99, in the median run by "
                     f"{statistics.median(values):.3f} s (simulated).")  # fmt: skip
    foreign = sorted(record["foreign"] for record in every)
    lines.append(f"Others used {statistics.median(foreign):.2f} cores in the median run, at most {foreign[-1]:.2f}.")
    left = {(record["gateway"], record["policy"], record["reason"]) for record in results.left_out}
    lines += [f"Left out: {gateway}, {policy}: {reason}" for gateway, policy, reason in sorted(left)]
    return "\n".join(f"- {line}" for line in lines)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
