"""`gateway simulate`: tables, JSON, CSV, and clear words for what cannot be tried."""

import csv
import io
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.simulate import watched
from gateway.simulation import traces
from gateway.simulation.traces import Arrival
from gateway.simulation.workloads import llm_d
from tests.gateway.builders import write_config

QUICK = ("--workload", "llm-d", "--seconds", "4", "--rate", "20")


def simulate(*options: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *options])


def lines(*options: str) -> list[dict[str, Any]]:
    """The JSON's lines."""
    result = simulate(*options, "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["lines"]
    return found


def told(*options: str) -> str:
    """What a run that fails says."""
    result = simulate(*options)
    assert result.exit_code != 0
    return result.output


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f"{line}\n" for line in traces.lines(llm_d(Random(1), 20.0, 4.0))))
    return str(path)


def test_each_policy_is_tried_on_each_size_with_each_seed() -> None:
    found = lines(
        *QUICK, "--policy", "score", "--policy", "round_robin", "--replicas", "2", "--replicas", "4", "--seeds", "2"
    )
    pairs = [(each["policy"], each["replicas"], each["seeds"]) for each in found]
    assert pairs == [("score", 2, 2), ("score", 4, 2), ("round_robin", 2, 2), ("round_robin", 4, 2)]
    assert all(each["ttft_p50"]["min"] <= each["ttft_p50"]["mean"] <= each["ttft_p50"]["max"] for each in found)
    assert found[0]["cached_share"]["mean"] > found[2]["cached_share"]["mean"]


def test_without_a_policy_all_are_tried() -> None:
    assert len(lines(*QUICK)) == 7


def test_the_table_says_what_was_simulated() -> None:
    result = simulate(*QUICK, "--policy", "score", "--gpu-price", "2.50", "--seeds", "2")
    assert result.exit_code == 0, result.output
    for part in (
        "Computed, not measured",
        "requests; 2 seeds",
        "TTFT p50 s",
        "cached",
        "balance",
        "per 1M tokens",
        "score",
    ):
        assert part in result.output
    assert "queued s" not in result.output


def test_money_is_exact_and_text() -> None:
    (found,) = lines(*QUICK, "--policy", "score", "--gpu-price", "2.50")
    assert isinstance(found["cost"]["mean"], str)
    (free,) = lines(*QUICK, "--policy", "score")
    assert free["cost"]["mean"] is None


def test_csv_has_a_row_for_each_metric() -> None:
    result = simulate(*QUICK, "--policy", "score", "--format", "csv")
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(result.stdout))}
    assert rows["completed"]["min"] == rows["requests"]["max"]
    assert float(rows["ttft_p90"]["mean"]) > 0


def test_a_trace_is_the_same_as_the_workload_that_it_was_written_from(trace: str) -> None:
    (read,) = lines("--trace", trace, "--policy", "round_robin")
    (made,) = lines(*QUICK, "--policy", "round_robin")
    for metric in ("requests", "cached_share", "balance", "ttft_p90", "itl_p99"):
        assert read[metric]["mean"] == pytest.approx(made[metric]["mean"], rel=1e-3), metric


def test_a_wrong_line_of_a_trace_is_told(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"timestamp": 0, "input_length": 10}\n')
    assert "trace.jsonl: line 1: Object missing required field `output_length`" in told("--trace", str(path))


def test_policy_queue_and_size_come_from_a_pool(tmp_path: Path) -> None:
    urls = [f"http://127.0.0.1:{port}" for port in (1, 2, 3)]
    replicas = [{"url": urls[0], "ranks": 2}, {"url": urls[1]}, {"url": urls[2], "drain": True}]
    pool = {"policy": "power_of_two", "replicas": replicas, "queue": {"max_in_flight": 2, "max_queued": 3}}
    config = str(write_config(tmp_path, pools={"main": pool}))
    (found,) = lines(*QUICK, "--config", config)
    assert (found["policy"], found["replicas"]) == ("power_of_two", 3)
    assert found["refused"]["mean"] > 0
    (other,) = lines(*QUICK, "--config", config, "--pool", "main", "--policy", "score", "--replicas", "8")
    assert (other["policy"], other["replicas"]) == ("score", 8)


def test_the_fair_queue_serves_two_alike_and_the_other_one_does_not() -> None:
    (fair,) = lines("--workload", "overload", "--seconds", "120")
    (first,) = lines("--workload", "overload", "--seconds", "120", "--fifo")
    assert fair["service_ratio"]["mean"] < 1.1
    assert first["service_ratio"]["mean"] > 1.8
    shown = simulate("--workload", "overload", "--seconds", "120", "--max-wait", "20").output
    assert "queued s" in shown
    assert "not all were answered" in shown
    assert "service while requests came in, weighted tokens for a weight of 1: one " in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name one of --workload"),
        (("--workload", "llm-d", "--trace", "x"), "name one of --workload"),
        (("--workload", "llm-d", "--pool", "main"), "--pool names a pool of --config FILE"),
        (("--workload", "llm-d", "--policy", "best"), "'best' is not one of"),
        (("--workload", "llm-d", "--engine", "h200"), "no engine profile 'h200'"),
        (("--workload", "llm-d", "--gpu-price", "cheap"), "an amount such as 2.50, from 0 to 10,000"),
        (("--workload", "llm-d", "--gpu-price", "-1"), "from 0 to 10,000"),
        (("--workload", "llm-d", "--gpu-price", "1e999999"), "from 0 to 10,000"),
        (("--workload", "llm-d", "--gpu-price", "1e30"), "from 0 to 10,000"),
        (
            ("--workload", "llm-d", "--rate", "0.0001", "--seconds", "1"),
            "no request arrives at 0.0001 per second in 1 s",
        ),
        (
            ("--workload", "unique", "--rate", "1e9", "--seconds", "86400"),
            "1e+09 per second in 86400 s are about 8.64e+13 requests, and at most 5,000,000 are tried",
        ),
    ],
)
def test_what_is_asked_wrongly_is_told(options: tuple[str, ...], message: str) -> None:
    assert message in told(*options)


def test_what_a_trace_has_cannot_be_asked_otherwise(trace: str) -> None:
    assert "a trace has its own times" in told("--trace", trace, "--rate", "5")


def test_a_pool_that_cannot_be_simulated_is_told(tmp_path: Path) -> None:
    pools = {
        "main": {"replicas": [{"url": "http://h:1"}]},
        "other": {"replicas": [{"url": "http://h:2", "drain": True}]},
    }
    config = str(write_config(tmp_path, pools=pools))
    assert "name a pool with --pool: those with replicas are main, other" in told(*QUICK, "--config", config)
    assert "no pool 'third' with replicas: those are main, other" in told(*QUICK, "--config", config, "--pool", "third")
    assert "every replica of the pool 'other' drains" in told(*QUICK, "--config", config, "--pool", "other")


@pytest.mark.parametrize("number", [1, 7, 250, 1000])
def test_a_long_replay_tells_how_far_it_is(number: int) -> None:
    arrivals, heard = [Arrival(float(at), 1, 1) for at in range(number)], list[float]()
    assert list(watched(arrivals, heard.append)) == arrivals
    assert min(number, 100) <= len(heard) <= 200
    assert 0.98 <= sum(heard) <= 1.0 + 1e-9


def test_where_there_is_no_terminal_the_table_stands_alone() -> None:
    done = simulate("--workload", "unique", "--seconds", "1", "--policy", "score")
    assert (done.stdout.startswith("engine "), done.stderr) == (True, "")
