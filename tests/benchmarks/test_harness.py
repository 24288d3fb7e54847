"""The benchmark of harnesses: ours end to end, what makes a run count, and the table."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import __main__ as session
from benchmarks.harness import jobs, measured, statistics, table
from benchmarks.harness.harnesses import HARNESSES
from benchmarks.harness.jobs import Job, Outcome

ROOT = Path(__file__).resolve().parents[2]


def test_four_in_five_samples_are_answered_right() -> None:
    for samples in (1, 4, 5, 6, 50, 5000):
        rows = jobs.rows(samples)
        assert len({row["id"] for row in rows}) == len({row["input"] for row in rows}) == samples
        assert jobs.right(samples) == sum(row["reference"] == jobs.ANSWER for row in rows)
    assert jobs.right(5000) == 4000


@pytest.mark.skipif(shutil.which("cc") is None or shutil.which("taskset") is None, reason="no C compiler or no taskset")
def test_ours_scores_every_sample_and_asks_for_each_once(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    flags = ["--only", "tollgate", "--samples", "60", "--rounds", "1", "--no-statistics", "--wait", "0"]
    command = [
        sys.executable,
        "-m",
        "benchmarks.harness",
        *flags,
        "--peers",
        str(tmp_path / "peers"),
        "--out",
        str(out),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    runs = [row for row in table.read(out) if row["kind"] == "run"]
    assert [(row["size"], row["samples"], row["problem"]) for row in runs] == [("short", 50, ""), ("full", 60, "")]
    assert all(row["cpu_s"] > 0 and row["peak_mb"] > 20 for row in runs)


@pytest.mark.parametrize(
    ("code", "asked", "found", "problem"),
    [
        (0, 50, Outcome(50, 40), ""),
        (0, 50, Outcome(49, 40), "it scored 49 samples, 40 of them right; expected 40 of 50"),
        (0, 50, Outcome(50, 50), "it scored 50 samples, 50 of them right; expected 40 of 50"),
        (0, 10, Outcome(50, 40), "it asked the engine 10 times for 50 samples"),
        (2, 50, Outcome(50, 40), "it ended with 2: the last line"),
        (None, 50, Outcome(50, 40), "it took longer than 240 s: the last line"),
    ],
)
def test_a_run_counts_only_when_all_of_it_was_done(
    code: int | None, asked: int, found: Outcome, problem: str, tmp_path: Path
) -> None:
    log = tmp_path / "log.txt"
    log.write_text("the last line\n", encoding="utf-8")
    job = Job(tmp_path / "data.jsonl", 50, "http://127.0.0.1:1/v1", 4, tmp_path)
    assert session._problem(job, code, asked, lambda: found, log) == problem


def test_a_process_is_measured_with_its_children(tmp_path: Path) -> None:
    child = "x = bytearray(60_000_000); x[::4096] = b'1' * len(x[::4096]); input()"
    script = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE)\n"
    script += "sum(range(5_000_000)); p.communicate(b'go\\n'); sys.exit(3)"
    usage = measured.run([sys.executable, "-c", script], {}, session.machine.cores()[0], tmp_path, tmp_path / "l", 60.0)
    assert usage.code == 3
    assert usage.peak_mb > 60
    assert usage.cpu_s > 0.02
    assert usage.wall_s >= usage.cpu_s - 0.1


def test_a_process_that_does_not_end_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    usage = measured.run(command, {}, session.machine.cores()[0], tmp_path, tmp_path / "l", 0.3)
    assert usage.code is None
    assert 0.3 <= usage.wall_s < 30


def row(name: str, number: int, size: str, samples: int, wall: float, **changed: Any) -> dict[str, Any]:
    about = {"harness": name, "version": "1", "round": number, "size": size, "samples": samples, "wall_s": wall}
    spent = {"cpu_s": wall / 2, "peak_mb": 100.0, "foreign": 0.0, "good": True, "problem": ""}
    return {"kind": "run", **about, **spent, **changed}


def test_the_table_takes_medians_of_rounds_and_compares_with_the_best() -> None:
    machine = {"kind": "machine", "measured": "today", "cpu": "C", "cores": 2, "kernel": "6", "python": "3.11"}
    rows: list[dict[str, Any]] = [machine | {"concurrency": 64}]
    for number, full in enumerate((1.5, 2.5, 1.6)):
        rows += [row("tollgate", number, "short", 50, 0.5), row("tollgate", number, "full", 1050, full, peak_mb=50.0)]
        rows += [row("slow", number, "short", 50, 1.0), row("slow", number, "full", 1050, 21.0)]
        rows += [row("quick", number, "short", 50, 10.0), row("quick", number, "full", 1050, 20.0)]
    rows += [row("broken", 0, "short", 50, 1.0), row("broken", 0, "full", 1050, 2.0, good=False, problem="it lied")]
    rows += [row("instant", 0, "short", 50, 1.0), row("instant", 0, "full", 1050, 1.0)]
    rows += [{"kind": "statistics", "round": n, "samples": 100_000, "step": "read", "cpu_s": n + 1.0} for n in range(3)]
    rows.append({"kind": "left_out", "harness": "absent", "reason": "no Node"})
    lines = table.write(rows).splitlines()
    assert lines[2:5] == [
        "| tollgate 1 | 909 | 656 | 0.50 | 1.60 | 0.55 | 50 |",
        "| quick 1 | 100 | 52 | 10.00 | 20.00 | 5.00 | 100 |",
        "| slow 1 | 50 | 50 | 1.00 | 21.00 | 10.00 | 100 |",
    ]
    text = "\n".join(lines)
    assert "9.1 times the samples/s without start of the best of them (quick)" in text
    assert "12.5 times the samples/s of a whole run of the best of them (quick)" in text
    assert "| read | 2.00 |" in text
    assert "absent was left out: no Node" in text
    assert "broken, round 1, does not count: it lied" in text
    assert "| instant" not in text


def test_the_table_goes_between_its_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")
    table.insert(readme, "new")
    assert readme.read_text(encoding="utf-8") == f"before\n{table.BEGIN}\n\nnew\n\n{table.END}\nafter\n"
    marks = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert marks.count(table.BEGIN) == marks.count(table.END) == 1


def test_statistics_are_measured_step_by_step(tmp_path: Path) -> None:
    steps = dict(statistics.measure(tmp_path, 10_000, 200))
    assert len(steps) == 8
    assert min(steps.values()) > 0
    assert json.dumps(steps)


def test_every_harness_is_pinned() -> None:
    assert set(HARNESSES) == {"tollgate", "inspect-ai", "lm-eval", "promptfoo"}
    assert all(harness.version[0].isdigit() for harness in HARNESSES.values())
