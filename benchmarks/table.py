"""One table of a run's measurements, in Markdown: python benchmarks/table.py RESULTS.jsonl

A value is the median of its rounds. What a gateway adds is its own time less that of `direct` in the same round, and a
ratio is that of the same round too. A repetition in which more than one answer in a hundred was bad counts for nothing.
"""

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

OURS, DIRECT = "tollgate", "direct"
BEGIN, END = "<!-- table: written by run.py --all -->", "<!-- end of the table -->"
BAD_SHARE = 0.01
FULL = 0.97
"""A core that is busier than this is what limits a rate."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """One column: where its number comes from, and whether more of it is better."""

    title: str
    kind: str
    read: Callable[[Record], float | None]
    digits: int = 0
    more: bool = False
    added: bool = False


def _of(group: str, name: str, scale: float = 1.0) -> Callable[[Record], float | None]:
    return lambda record: record[group][name] * scale if record[group]["count"] else None


def _cpu(per: str, scale: float) -> Callable[[Record], float | None]:
    return lambda record: (
        record["gateway_cpu_s"] * scale / record[per] if record["gateway_cpu_s"] and record[per] else None
    )


MEASURES = {
    "plain1": Measure("1 conn, req/s", "plain1", lambda record: record["answers_per_s"], more=True),
    "plain16": Measure("16 conn, req/s", "plain16", lambda record: record["answers_per_s"], more=True),
    "plain64": Measure("64 conn, req/s", "plain64", lambda record: record["answers_per_s"], more=True),
    "cpu_us": Measure("64 conn, CPU µs/req", "plain64", _cpu("good", 1e6), 1),
    "p50_us": Measure("added p50 µs", "latency", _of("latency_us", "p50"), added=True),
    "p99_us": Measure("added p99 µs", "latency", _of("latency_us", "p99"), added=True),
    "ttft50_ms": Measure("added TTFT p50 ms", "streams", _of("first_word_us", "p50", 1e-3), 2, added=True),
    "ttft99_ms": Measure("added TTFT p99 ms", "streams", _of("first_word_us", "p99", 1e-3), 2, added=True),
    "cpu_s": Measure("CPU s per 1,000 chunks", "streams", _cpu("words", 1e3), 3),
    "max_chunks": Measure("most chunks/s", "saturated", lambda record: record["words_per_s"], more=True),
    "idle_mb": Measure("MB idle", "start", lambda record: record["idle_mb"]),
    "open_mb": Measure("MB, 1,000 streams", "memory", lambda record: record["memory_mb"]),
    "start_s": Measure("start s", "start", lambda record: record["start_s"], 2),
}


@dataclass(frozen=True)
class Target:
    """What Tollgate has to reach, and what it aims at. `against` makes it a ratio of requests/s."""

    title: str
    measure: str
    must: float
    aim: float | None
    against: str | None = None


TARGETS = (
    Target("64 connections, × vllm-router", "plain64", 1.0, 2.0, "vllm-router"),
    Target("64 connections, × LiteLLM", "plain64", 100.0, None, "litellm"),
    Target("added latency p50, µs", "p50_us", 150.0, 60.0),
    Target("added TTFT p99, ms", "ttft99_ms", 1.5, 0.6),
    Target("CPU s per 1,000 chunks", "cpu_s", 0.08, 0.045),
    Target("MB with 1,000 open streams", "open_mb", 120.0, 80.0),
    Target("start to first answer, s", "start_s", 2.0, 0.7),
)


@dataclass
class Results:
    """The records of one run, by what they are."""

    machine: Record = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    def gateways(self) -> list[str]:
        """Those that ran, in the order of the run."""
        return list(dict.fromkeys(record["gateway"] for record in self.records if record["kind"] == "start"))

    def of(self, gateway: str, kind: str) -> dict[int, Record]:
        """Round to record, of a cell or of `start` or `ledger`; without what was discarded or mostly bad."""
        return {
            record["round"]: record
            for record in self.records
            if record.get("gateway") == gateway
            and kind in (record["kind"], record.get("cell"))
            and not record.get("discarded")
            and (record["kind"] != "cell" or bad(record) <= BAD_SHARE * record["started"])
        }

    def rounds(self, gateway: str, measure: Measure) -> dict[int, float]:
        """Round to value."""
        values = self._plain(gateway, measure)
        if not measure.added or gateway == DIRECT:
            return values
        base = self._plain(DIRECT, measure)
        return {number: value - base[number] for number, value in values.items() if number in base}

    def _plain(self, gateway: str, measure: Measure) -> dict[int, float]:
        read = {number: measure.read(record) for number, record in self.of(gateway, measure.kind).items()}
        return {number: value for number, value in read.items() if value is not None}

    def value(self, gateway: str, measure: Measure) -> float | None:
        """The median over the rounds."""
        values = self.rounds(gateway, measure)
        return statistics.median(values.values()) if values else None

    def ratio(self, measure: Measure, other: str) -> float | None:
        """How many times better Tollgate is than another: the median of the rounds that both have."""
        ours, theirs = self.rounds(OURS, measure), self.rounds(other, measure)
        both = [(ours[number], theirs[number]) for number in ours.keys() & theirs.keys()]
        better = [mine / its if measure.more else its / mine for mine, its in both if mine > 0 and its > 0]
        return statistics.median(better) if better else None

    def limited(self, gateway: str, kind: str) -> bool:
        """Whether the load's core was full and the gateway's was not: then a rate is a lower bound."""
        full = [
            record["engine_cpu_s"] + record["cpu_s"] > FULL * record["seconds"] > record["gateway_cpu_s"]
            for record in self.of(gateway, kind).values()
        ]
        return bool(full) and statistics.median(full) >= 1


def read(path: Path) -> Results:
    """The records of a JSONL file."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    machine = next((record for record in records if record["kind"] == "machine"), {})
    return Results(machine, [record for record in records if record["kind"] != "machine"])


def bad(record: Record) -> int:
    """Answers of a cell that were not what they should be, or did not come."""
    return sum(record["failed"].values()) + int(record["unfinished"])


def write(results: Results) -> str:
    """The whole report."""
    parts = [_main(results), _ratios(results), _targets(results), _notes(results)]
    return "\n\n".join(part for part in parts if part)


def insert(path: Path, report: str) -> None:
    """Put a report between the marks in a Markdown file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{after}", encoding="utf-8")


def line(kind: str, record: Record) -> str:
    """One repetition in one line."""
    parts = [f"{kind:10}"]
    for measure in MEASURES.values():
        if measure.kind == kind and (value := measure.read(record)) is not None:
            parts.append(f"{measure.title.removeprefix('added ')} {_number(value, measure.digits)}")
    if record["foreign"] > 0:
        parts.append(f"others used {record['foreign']:.2f} cores")
    if failures := bad(record):
        parts.append(f"BAD {failures} of {record['started']}: {record['example'][:160]}")
    return ", ".join(parts)


def _main(results: Results) -> str:
    measures = [measure for measure in MEASURES.values() if any(results.rounds(g, measure) for g in results.gateways())]
    rows = []
    for gateway in results.gateways():
        version = next(iter(results.of(gateway, "start").values()))["version"]
        cells = [_cell(results, gateway, measure) for measure in measures]
        rows.append([gateway if version == "-" else f"{gateway} {version}", *cells, _errors(results, gateway)])
    return _markdown(["gateway", *(measure.title for measure in measures), "bad answers"], rows)


def _cell(results: Results, gateway: str, measure: Measure) -> str:
    value = results.value(gateway, measure)
    if value is None:
        return "–"
    text = _number(value, measure.digits)
    if measure.added and gateway == DIRECT:
        return f"({text})"
    return f"≥ {text}" if measure.more and results.limited(gateway, measure.kind) else text


def _errors(results: Results, gateway: str) -> str:
    cells = [r for r in results.records if r["kind"] == "cell" and r["gateway"] == gateway and not r["discarded"]]
    total, asked = sum(map(bad, cells)), sum(record["started"] for record in cells)
    return f"{total:,} of {asked:,}" if total else "0"


def _ratios(results: Results) -> str:
    others = [name for name in ("vllm-router", "litellm", "tollgate-plain") if name in results.gateways()]
    if OURS not in results.gateways() or not others:
        return ""
    rows = []
    for measure in MEASURES.values():
        ratios = [results.ratio(measure, other) for other in others]
        if any(ratio is not None for ratio in ratios):
            rows.append([measure.title, *("–" if ratio is None else f"{_short(ratio)} ×" for ratio in ratios)])
    return _markdown(["Tollgate is better", *(f"than {other}" for other in others)], rows)


def _targets(results: Results) -> str:
    rows = []
    for target in TARGETS:
        measure = MEASURES[target.measure]
        sign = "≥" if target.against else "≤"
        reached = results.ratio(measure, target.against) if target.against else results.value(OURS, measure)
        if reached is not None:
            aim = "" if target.aim is None else f"{sign} {target.aim:g}"
            rows.append([target.title, f"{sign} {target.must:g}", aim, _short(reached), met(target, reached)])
    return _markdown(["Tollgate", "must", "aim", "reached", ""], rows) if rows else ""


def met(target: Target, reached: float) -> Literal["aim", "must", "missed"]:
    """Which of its two marks a target has reached."""

    def good(mark: float) -> bool:
        return reached >= mark if target.against else reached <= mark

    if not good(target.must):
        return "missed"
    return "aim" if target.aim is not None and good(target.aim) else "must"


def _notes(results: Results) -> str:
    facts, lines = results.machine, []
    if facts:
        where = f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, Linux {facts['kernel']}"
        lines.append(f"Measured {facts['measured']} on {where}; Python {facts['python']}.")
        if facts["realtime"]:
            lines.append("**A look on a busy machine, before all others (`--realtime`): not to be published.**")
    cells = [record for record in results.records if record["kind"] == "cell"]
    discarded = sum(record["discarded"] for record in cells)
    noisy = sum(record["noisy"] and not record["discarded"] for record in cells)
    lines.append(f"{len(cells)} repetitions, {discarded} discarded for foreign CPU use, {noisy} kept in spite of it.")
    lines += [
        f"{record['gateway']} had {record['opened']:,} of 1,000 streams open when its memory was read."
        for record in cells
        if record.get("opened", 1000) < 1000
    ]
    lines += [_books(record) for record in results.of(OURS, "ledger").values()]
    left = {(record["gateway"], record["reason"]) for record in results.records if record["kind"] == "left_out"}
    lines += [f"Left out: {gateway}: {reason}" for gateway, reason in sorted(left)]
    return "\n".join(f"- {each}" for each in lines)


def _books(record: Record) -> str:
    """What was asked of Tollgate, beside what its ledger says."""
    books = record["books"]
    return (
        f"Round {record['round'] + 1}: {record['asked']:,} requests asked of Tollgate, {books['requests']:,} rows in "
        f"its ledger; {record['words']:,} tokens received, {books['output_tokens']:,} counted, {books['cost']} "
        f"{books['currency']}; {books['unpriced']} unpriced, {books['unmetered']} unmetered."
    )


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(write(read(Path(sys.argv[1]))))
