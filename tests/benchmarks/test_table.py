"""The table: medians, differences and ratios of the same round, bounds that the load set, and what is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import table, tollgate
from benchmarks.cells import CELLS
from benchmarks.table import MEASURES, TARGETS, Results
from gateway.stores.bundle import open_stores
from tests.gateway.builders import settled


def _cell(gateway: str, cell: str, number: int = 0, **values: Any) -> dict[str, Any]:
    times = {"count": 10, "p50": 100.0, "p99": 900.0}
    record = {
        "kind": "cell", "gateway": gateway, "cell": cell, "round": number, "noisy": False, "discarded": False,
        "started": 1000, "good": 1000, "unfinished": 0, "words": 50_000, "failed": {"status": 0}, "example": "",
        "answers_per_s": 1000.0, "words_per_s": 0.0, "latency_us": times, "first_word_us": times,
        "gateway_cpu_s": 2.0, "foreign": 0.0, "seconds": 2.0, "cpu_s": 0.5, "engine_cpu_s": 0.5,
    }  # fmt: skip
    return record | values


def _start(gateway: str, number: int = 0) -> dict[str, Any]:
    about = {"version": "-" if gateway == "direct" else "1.2", "start_s": 0.5, "idle_mb": 40.0}
    return {"kind": "start", "gateway": gateway, "round": number, **about}


def _latency(p50: float) -> dict[str, Any]:
    return {"latency_us": {"count": 10, "p50": p50, "p99": p50}}


def test_a_value_is_the_median_of_its_rounds() -> None:
    results = Results(
        records=[_cell("tollgate", "plain64", n, answers_per_s=rate) for n, rate in enumerate((1.0, 9.0, 5.0))]
    )
    assert results.value("tollgate", MEASURES["plain64"]) == 5.0
    assert results.value("nginx", MEASURES["plain64"]) is None


def test_what_is_added_is_more_than_direct_in_the_same_round() -> None:
    records = [_cell("direct", "latency", n, **_latency(base)) for n, base in enumerate((10.0, 100.0))]
    records += [_cell("tollgate", "latency", n, **_latency(own)) for n, own in enumerate((30.0, 130.0, 500.0))]
    assert Results(records=records).rounds("tollgate", MEASURES["p50_us"]) == {0: 20.0, 1: 30.0}


def test_a_ratio_is_that_of_the_same_round_and_above_one_where_tollgate_is_better() -> None:
    rates = {"tollgate": (100.0, 200.0, 30.0), "vllm-router": (50.0, 50.0, 10.0)}
    records = [
        _cell(name, "plain64", n, answers_per_s=rate, gateway_cpu_s=rate)
        for name, each in rates.items()
        for n, rate in enumerate(each)
    ]
    results = Results(records=records)
    assert results.ratio(MEASURES["plain64"], "vllm-router") == 3.0
    assert results.ratio(MEASURES["cpu_us"], "vllm-router") == pytest.approx(1 / 3)
    assert results.ratio(MEASURES["plain64"], "litellm") is None


def test_neither_discarded_nor_mostly_bad_repetitions_count() -> None:
    records = [
        _cell("tollgate", "plain64", 0, answers_per_s=7.0),
        _cell("tollgate", "plain64", 1, answers_per_s=1.0, discarded=True),
        _cell("tollgate", "plain64", 2, answers_per_s=1.0, failed={"status": 11}),
        _cell("tollgate", "plain64", 3, answers_per_s=1.0, unfinished=11),
    ]
    assert Results(records=records).rounds("tollgate", MEASURES["plain64"]) == {0: 7.0}


def test_bad_answers_are_shown() -> None:
    records = [_start("litellm"), _cell("litellm", "plain64", failed={"status": 40, "words": 2})]
    assert table.write(Results(records=records)).splitlines()[2].endswith("| 42 of 1,000 |")


def test_a_rate_that_the_load_bounded_is_marked() -> None:
    records = [_start("nginx"), _cell("nginx", "plain64", gateway_cpu_s=1.5, cpu_s=1.2, engine_cpu_s=0.8)]
    assert "| ≥ 1,000 |" in table.write(Results(records=records))
    records[1]["gateway_cpu_s"] = 2.0
    assert "≥" not in table.write(Results(records=records))


def test_the_whole_time_of_direct_stands_in_brackets() -> None:
    report = table.write(Results(records=[_start("direct"), _cell("direct", "latency", gateway_cpu_s=0.0)]))
    assert "| direct | (100) | (900) |" in report


def test_fewer_streams_than_wanted_are_told() -> None:
    records = [_start("litellm"), _cell("litellm", "memory", opened=700, memory_mb=500.0)]
    assert "litellm had 700 of 1,000 streams open" in table.write(Results(records=records))
    records[1]["opened"] = 1000
    assert "streams open when" not in table.write(Results(records=records))


@pytest.mark.parametrize(
    ("title", "reached", "said"),
    [
        ("64 connections, × vllm-router", 0.9, "missed"),
        ("64 connections, × vllm-router", 1.0, "must"),
        ("64 connections, × vllm-router", 2.0, "aim"),
        ("64 connections, × LiteLLM", 500.0, "must"),
        ("added latency p50, µs", 150.1, "missed"),
        ("added latency p50, µs", 150.0, "must"),
        ("added latency p50, µs", 60.0, "aim"),
    ],
)
def test_targets_are_met_at_their_marks(title: str, reached: float, said: str) -> None:
    (target,) = (each for each in TARGETS if each.title == title)
    assert table.met(target, reached) == said


def test_targets_are_only_shown_when_measured() -> None:
    records = [_start("tollgate"), _cell("tollgate", "streams", gateway_cpu_s=3.0)]
    report = table.write(Results(records=records))
    assert "| CPU s per 1,000 chunks | ≤ 0.08 | ≤ 0.045 | 0.06 | must |" in report
    assert "added latency" not in report


def test_the_ledger_and_who_was_left_out_are_told() -> None:
    books = {"requests": 7, "output_tokens": 350, "cost": "0.1", "currency": "USD", "unpriced": 0, "unmetered": 0}
    ledger = {"kind": "ledger", "gateway": "tollgate", "round": 0, "asked": 7, "words": 350, "books": books}
    left = {"kind": "left_out", "gateway": "nginx", "round": 0, "reason": "no apt-get"}
    report = table.write(Results(records=[_start("tollgate"), ledger, left]))
    assert "7 requests asked of Tollgate, 7 rows in its ledger; 350 tokens received, 350 counted, 0.1 USD" in report
    assert "Left out: nginx: no apt-get" in report


def test_what_our_own_ledger_says_is_told(tmp_path: Path) -> None:
    """As the product's own command says it, not as a record that was made for the table."""
    gate = tollgate.prepare(tmp_path, 1, ["http://127.0.0.1:1"])
    stores = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    stores.ledger.insert([settled(name, output_tokens=20, cost="0.25", currency="USD") for name in "ab"])
    ledger = {"kind": "ledger", "gateway": "tollgate", "round": 0, "asked": 2, "words": 40, "books": gate.audit()}
    report = table.write(Results(records=[_start("tollgate"), ledger]))
    assert "2 requests asked of Tollgate, 2 rows in its ledger; 40 tokens received, 40 counted, 0.5" in report


def test_a_report_is_read_from_its_file_and_put_between_the_marks(tmp_path: Path) -> None:
    machine = {
        "cpu": "A",
        "cores": 2,
        "memory_gb": 8,
        "kernel": "6",
        "python": "3.11",
        "measured": "today",
        "realtime": True,
    }
    records = [{"kind": "machine", **machine}, _start("direct")]
    (tmp_path / "run.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{table.BEGIN}\nold\n{table.END}\nbelow\n", encoding="utf-8")
    for _ in range(2):
        table.insert(readme, table.write(table.read(tmp_path / "run.jsonl")))
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "old" not in text
    assert text.count("Measured today on A, 2 cores") == 1
    assert "not to be published" in text


def test_every_measure_has_its_cell() -> None:
    assert {measure.kind for measure in MEASURES.values()} <= {*CELLS, "start"}
    assert {target.measure for target in TARGETS} <= set(MEASURES)


def test_the_committed_readme_has_a_place_for_the_table() -> None:
    text = (Path(table.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert text.count(table.BEGIN) == text.count(table.END) == 1
    assert text.index(table.BEGIN) < text.index(table.END)
