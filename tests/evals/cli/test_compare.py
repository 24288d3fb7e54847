import json
from pathlib import Path

import pytest


def test_compare_prints_differences_flips_and_noise(evals, tmp_path: Path, make_log) -> None:
    tags = {"a": ["plans"]}
    make_log(tmp_path / "one.jsonl", {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}, release="faq@1", tags=tags)
    make_log(tmp_path / "two.jsonl", {"a": 0.0, "b": 0.0, "c": 1.0, "d": 1.0}, tags=tags)
    result = evals("compare", "one.jsonl", "two.jsonl", "--slices")
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if line.strip().startswith("exact")).split()
    assert row[1:4] == ["0.7500", "0.5000", "-0.2500"]
    assert row[-5:] == ["4", "2", "1", "0.957", "1.00"]
    assert "exact fell: a, b" in result.stdout
    assert "exact rose: c" in result.stdout
    assert ["plans", "exact", "-1.0000", "1"] in [line.split() for line in result.stdout.splitlines()]


def test_compare_refuses_other_data_and_other_metrics(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "one.jsonl", {"a": 1.0})
    make_log(tmp_path / "two.jsonl", {"b": 1.0})
    make_log(tmp_path / "three.jsonl", {"a": 1.0}, scorers=[{"name": "includes"}])
    assert "different data sets" in evals("compare", "one.jsonl", "two.jsonl").stderr
    assert "share no metric" in evals("compare", "one.jsonl", "three.jsonl").stderr


def test_compare_mentions_what_a_gate_would_refuse(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "one.jsonl", {"a": 1.0}, seal=False)
    make_log(tmp_path / "two.jsonl", {"a": 1.0})
    assert "note: baseline: the run is unfinished" in evals("compare", "one.jsonl", "two.jsonl").stdout


def test_json_holds_differences_flips_and_noise(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "one.jsonl", {"a": [1.0, 1.0], "b": [1.0, 0.0], "c": [0.0, 0.0]})
    make_log(tmp_path / "two.jsonl", {"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [0.0, 0.0]}, release="faq@3")
    found = json.loads(evals("compare", "one.jsonl", "two.jsonl", "--json").stdout)
    exact = found["difference"]["exact"]
    assert (exact["mean"], exact["rose"], exact["fell"]) == (pytest.approx(1 / 6), ["b"], [])
    noise = found["difference_noise"]["exact"]
    assert noise["components"]["judge"] is None
    assert noise["components"]["sampling"] == pytest.approx(1 / 6)
    assert found["problems"] == {"baseline": [], "candidate": []}


def test_one_log_of_two_arms_is_enough(evals, tmp_path: Path, make_arms) -> None:
    make_arms(tmp_path / "run.jsonl", {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 0.0})
    result = evals("compare", "run.jsonl")
    assert "exact rose: b" in result.stdout


def test_one_log_of_one_arm_is_not(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "run.jsonl", {"a": 1.0})
    result = evals("compare", "run.jsonl")
    assert (result.exit_code, "has one arm" in result.stderr) == (3, True)


def test_three_logs_are_too_many(evals, tmp_path: Path, make_log) -> None:
    for name in "xyz":
        make_log(tmp_path / name, {"a": 1.0})
    assert "found 3" in evals("compare", "x", "y", "z").stderr


def test_compare_resamples_when_it_is_asked_to(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "one.jsonl", {f"s{i}": float(i % 2) for i in range(60)})
    make_log(tmp_path / "two.jsonl", {f"s{i}": float(i % 3 == 0) for i in range(60)}, release="faq@3")
    plain, more = (evals("compare", "one.jsonl", "two.jsonl", *flags).stdout for flags in ((), ("--resamples", "500")))
    assert "bootstrap" not in plain
    assert "exact: bootstrap of 60 clusters, 500 resamples: 95% interval [-0.3" in more
    same = evals("compare", "one.jsonl", "one.jsonl", "--resamples", "500").stdout
    assert (
        "all 60 clusters have the same mean, a bootstrap would have no width; the exact 95% interval [-0.0596" in same
    )


def test_the_standard_tests_beside_the_bound(evals, tmp_path: Path, make_log) -> None:
    start = {f"s{i:03}": float(i >= 8) for i in range(200)}
    end = {f"s{i:03}": float(i < 188) for i in range(200)}
    make_log(tmp_path / "one.jsonl", start, release="faq@1")
    make_log(tmp_path / "two.jsonl", end)
    plain = evals("compare", "one.jsonl", "two.jsonl")
    assert "McNemar" not in plain.stdout
    result = evals("compare", "one.jsonl", "two.jsonl", "--classical", "--margin", "0.06")
    assert "McNemar: 12 fell, 8 rose, exact p 0.5034" in result.stdout
    assert "not worse by the margin: p 0.03765; equal within it (TOST): p 0.03765" in " ".join(result.stdout.split())
    values = json.loads(evals("compare", "one.jsonl", "two.jsonl", "--classical", "--json").stdout)
    assert values["classical"][0]["mcnemar"] == pytest.approx(0.5034, abs=1e-4)
    assert values["classical"][0]["rates"]["baseline"][0] == 0.96


def test_where_nothing_differs_a_bootstrap_is_the_exact_interval(evals, tmp_path: Path, make_log) -> None:
    same = {f"s{i:03}": 1.0 for i in range(300)}
    make_log(tmp_path / "one.jsonl", same, release="faq@1")
    make_log(tmp_path / "two.jsonl", same)
    result = evals("compare", "one.jsonl", "two.jsonl", "--resamples", "200")
    assert "the exact 95% interval [-0.0122, +0.0122]" in " ".join(result.stdout.split())


def test_compare_writes_a_page_when_it_is_asked_to(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "one.jsonl", {"a": 1.0, "b": 1.0}, release="faq@1")
    make_log(tmp_path / "two.jsonl", {"a": 0.0, "b": 1.0})
    result = evals("compare", "one.jsonl", "two.jsonl", "--html", "page.html")
    assert "wrote page.html" in result.stdout
    assert "Got worse: 1 samples" in (tmp_path / "page.html").read_text()
    alone = evals("compare", "one.jsonl", "two.jsonl", "--dataset", "d.jsonl")
    assert (alone.exit_code, "give --html FILE too" in alone.stderr) == (2, True)


def test_json_holds_all_that_was_asked_for(evals, tmp_path: Path, make_log) -> None:
    tags = {f"s{i}": ["even" if i % 2 == 0 else "odd"] for i in range(60)}
    make_log(tmp_path / "one.jsonl", {f"s{i}": float(i % 2) for i in range(60)}, tags=tags)
    make_log(tmp_path / "two.jsonl", {f"s{i}": float(i % 3 == 0) for i in range(60)}, release="faq@3", tags=tags)
    flags = ("--slices", "--resamples", "500")
    found = json.loads(evals("compare", "one.jsonl", "two.jsonl", *flags, "--json").stdout)
    table = evals("compare", "one.jsonl", "two.jsonl", *flags).stdout
    drawn = found["resampled"]["exact"]
    assert drawn["resamples"] == 500
    assert f"95% interval [{drawn['lower']:+.4f}, {drawn['upper']:+.4f}]" in table
    assert [(row["tag"], row["samples"]) for row in found["slices"]] == [("even", 30), ("odd", 30)]
    row = next(line for line in table.splitlines() if line.strip().startswith("exact")).split()
    exact = found["difference"]["exact"]
    assert row[-2:] == [f"{exact['sd']:.3f}", f"{exact['design_effect']:.2f}"]
    plain = json.loads(evals("compare", "one.jsonl", "two.jsonl", "--json").stdout)
    assert {"resampled", "slices", "classical"}.isdisjoint(plain)


def test_a_margin_that_no_test_would_use_is_refused(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "one.jsonl", {"a": 1.0})
    result = evals("compare", "one.jsonl", "one.jsonl", "--margin", "0.1")
    assert (result.exit_code, "give --classical too" in result.stderr) == (2, True)


def test_a_line_of_ids_is_one_line_where_no_terminal_is(evals, tmp_path: Path, make_log) -> None:
    ids = [f"a-long-name-of-a-sample-{i:02}" for i in range(12)]
    make_log(tmp_path / "one.jsonl", dict.fromkeys(ids, 1.0), release="faq@1")
    make_log(tmp_path / "two.jsonl", dict.fromkeys(ids, 0.0))
    lines = evals("compare", "one.jsonl", "two.jsonl").stdout.splitlines()
    assert f"exact fell: {', '.join(ids[:10])} and 2 more" in lines
