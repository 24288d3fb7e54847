"""The numbers of a run, and the table: medians of seeds, differences of the same seed, and what a reader must know."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet import table
from benchmarks.fleet.contenders import CONTENDERS, DEFAULT
from benchmarks.fleet.session import result
from benchmarks.fleet.table import LEAST, SCORE, Results
from benchmarks.gateways import Place
from gateway.config import load
from gateway.policy.routing import POLICIES


def _run(gateway: str, policy: str, seed: int, **values: Any) -> dict[str, Any]:
    record = {
        "kind": "run", "session": "then", "gateway": gateway, "policy": policy, "workload": "shared", "seed": seed,
        "scale": 12.0, "version": "1.2", "failed": 0, "cached_share": 0.8, "ttft_p50": 0.2, "ttft_p90": 0.5,
        "ttft_mean": 0.3, "balance": 1.1, "gateway_cpu": 0.3, "foreign": 0.0, "load_late_p99": 0.01,
        "engine_late_p99": 0.02,
    }  # fmt: skip
    return record | values


def _machine(session: str = "then") -> dict[str, Any]:
    about = {"cpu": "a fast one", "cores": 2, "memory_gb": 8.0, "kernel": "6", "python": "3.11"}
    return {"kind": "machine", "session": session, **about}


def _results(*records: dict[str, Any]) -> Results:
    results = Results()
    for record in (_machine(), *records):
        results.add(record)
    return results


def test_gateways_are_compared_seed_by_seed() -> None:
    results = _results(
        *(_run(*SCORE, seed, ttft_p90=p90) for seed, p90 in enumerate((0.5, 0.4, 1.0))),
        *(_run("vllm-router", "cache_aware", seed, ttft_p90=p90) for seed, p90 in ((2, 0.9), (0, 0.7), (7, 99.0))),
    )
    them = ("vllm-router", "cache_aware")
    assert results.differences("shared", them, SCORE, "ttft_p90") == pytest.approx([0.2, -0.1])
    assert results.relative("shared", them, SCORE, "ttft_p90") == pytest.approx([0.4, -0.1])
    assert results.differences("shared", ("nobody", "none"), SCORE, "ttft_p90") == []


def test_a_run_that_is_repeated_counts_as_it_was_last() -> None:
    results = _results(_run(*SCORE, 1, ttft_p90=9.0), _run(*SCORE, 1, ttft_p90=0.5))
    assert results.runs["shared"][SCORE][1]["ttft_p90"] == 0.5


def test_the_table_has_the_best_first_and_says_what_went_wrong(tmp_path: Path) -> None:
    records = [
        _machine(),
        *(_run("sglang-router", "cache_aware", seed, ttft_p90=0.9 + seed, failed=seed) for seed in (1, 2, 3)),
        *(_run(*SCORE, seed, ttft_p90=0.5) for seed in (1, 2, 3)),
        _run("vllm-router", "cache_aware", 1, ttft_p90=250.0, ttft_p50=None, cached_share=None, scale=3.0),
        _run(*LEAST, 1, workload="unique", ttft_mean=0.50, foreign=0.7),
        _run(*SCORE, 1, workload="unique", ttft_mean=0.51),
        _run(*LEAST, 1, workload="seldom", engine_ttft_mean=0.6),
        _run(*SCORE, 1, workload="seldom", ttft_mean=9.0, engine_ttft_mean=0.606),
        {**_run("portkey", "none", 1), "kind": "left_out", "reason": "no Node.js"},
    ]
    file = tmp_path / "routing.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    lines = table.write(table.read(file)).splitlines()
    rows = [line for line in lines if line.startswith("| ") and "---" not in line and "gateway, policy" not in line]
    assert rows[0] == "| **tollgate 1.2, `score`** | 0.800 | 0.20 | 0.50 | – | 1.10 | 0 | 0.30 |"
    against = "2.90 (1.90–3.90) | +2.40 (+1.40 to +3.40)"
    assert rows[1] == f"| sglang-router 1.2, `cache_aware` | 0.800 | 0.20 | {against} | 1.10 | 6 | 0.30 |"
    assert rows[2] == "| vllm-router 1.2, `cache_aware` | – | – | 250 | +250 (+250 to +250) | 1.10 | 0 | 0.30 |"
    assert "| +2.0% (+2.0% to +2.0%) |" in next(row for row in rows[3:] if "score" in row)
    assert any(line.startswith("**unique prompts of 7,200 tokens**, climbing to 8 requests/s in 5 s") for line in lines)
    assert "| +1.0% (+1.0% to +1.0%) |" in rows[-1] or "| +1.0% (+1.0% to +1.0%) |" in rows[-2]
    assert any(line.endswith("so seldom that hardly two meet**, 0.25 requests/s, measured for 300 s; 1 seeds; "
                             "all times simulated") for line in lines)  # fmt: skip
    notes = "\n".join(lines)
    assert "Measured then on a fast one" in notes
    assert "`shared`: 12 simulated seconds in a real one; 3 for vllm-router `cache_aware`." in notes
    assert "Others used 0.00 cores in the median run, at most 0.70." in notes
    assert "Left out: portkey, none: no Node.js" in notes


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"# Before\n\n{table.BEGIN}\nold\n{table.END}\n\nafter\n", encoding="utf-8")
    for _ in range(2):
        table.insert(page, "new")
    assert page.read_text(encoding="utf-8") == f"# Before\n\n{table.BEGIN}\n\nnew\n\n{table.END}\n\nafter\n"


def test_a_runs_numbers_are_those_of_what_was_measured() -> None:
    requests = [(0, False, 5.0, 0.0, None), (1, True, 0.3, 0.01, None), (2, True, 0.1, 0.0, None)]
    requests += [(3, True, None, 0.0, "unfinished")]
    log = [
        (-1, 0, 0.0, 0.0, 0.0, 1.0, 3, 0),
        (0, 0, 0.0, 0.0, 5.0, 6.0, 100, 0),
        (1, 0, 1.0, 1.1, 1.2, 2.0, 100, 50),
        (2, 5, 2.0, 2.0, 2.1, 3.0, 100, 90),
    ]
    found = result(requests, {"log": log, "late": [0.2, 0.1], "unknown": {"/a": 1}, "asked": {"/b": 2}})
    assert (found["requests"], found["measured"], found["failed"], found["failure"]) == (4, 2, 1, "unfinished")
    assert (found["ttft_p50"], found["ttft_p90"], found["ttft_mean"]) == (0.1, 0.3, 0.2)
    assert (found["engine_ttft_p50"], found["engine_ttft_p90"]) == (0.1, 0.2)
    assert (found["cached_share"], found["work"], found["balance"]) == (0.7, [50, 0, 0, 0, 0, 10, 0, 0], 6.667)
    assert found["asked"] == {"/a": 1, "/b": 2}
    nothing = result([], {"log": [], "late": [], "unknown": {}, "asked": {}})
    assert (nothing["ttft_p90"], nothing["cached_share"], nothing["balance"]) == (None, None, None)


def test_tollgate_gets_its_policy_and_looks_at_the_engines_as_often_as_the_scale_asks(tmp_path: Path) -> None:
    launch = CONTENDERS["tollgate:score"].launch
    assert launch is not None
    started = launch(Place(8080, ("http://127.0.0.1:1", "http://127.0.0.1:2"), tmp_path), 12.0)
    config = load(tmp_path / "gateway.yaml").config
    assert (config.pools["bench"].policy, config.health.scrape) == ("score", pytest.approx(1 / 12))
    assert config.routing.hash_key is not None
    assert started.headers[0].startswith("authorization: Bearer sk-")


def test_every_policy_of_ours_is_compared_unless_asked_otherwise() -> None:
    assert {f"tollgate:{policy}" for policy in POLICIES} < set(DEFAULT) < set(CONTENDERS)
    assert {"sglang-router:cache_aware", "vllm-router:cache_aware"} < set(DEFAULT)
