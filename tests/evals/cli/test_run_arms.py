"""`evals run` with two arms, a cap, a cache; and the gate and the comparison of what it leaves."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import Result

from evals import run_log
from tests.evals.cli.conftest import AS_ASKED, completion

SUITE = """suite: numbers
dataset: questions.jsonl
params: {temperature: 0, max_tokens: 8}
scorers: [{name: exact}]
max_retries: 0
concurrency: 3
"""


@pytest.fixture
def suite(tmp_path: Path, questions: Path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


def forgetful(body: dict) -> tuple[int, dict]:
    """faq@2 is right about everything, faq@1 not about the numbers that end in 7."""
    number = body["messages"][-1]["content"].split()[-1]
    return completion("?" if body["model"] == "faq@1" and number.endswith("7") else number)


@pytest.fixture
def both(evals, suite: Path, serve) -> Result:
    url = serve(forgetful, release=AS_ASKED)
    return evals("run", suite, "--base-url", url, "--model", "faq@2", "--baseline", "faq@1", "--out", "both.jsonl")


def test_one_run_holds_both_arms(both: Result) -> None:
    assert both.exit_code == 0, both.output
    log = run_log.read(Path("both.jsonl"))
    assert (log.manifest.model, log.manifest.baseline, len(log.records)) == ("faq@2", "faq@1", 60)
    assert "candidate: faq@2" in both.stdout
    assert "baseline: faq@1" in both.stdout
    assert "+0.1000" in both.stdout
    assert "60 of 60 samples" in both.stderr


def test_the_manifest_says_what_the_run_was_made_with(both: Result) -> None:
    manifest = run_log.read(Path("both.jsonl")).manifest
    assert manifest.packages["tollgate"]
    assert set(manifest.scorer_digests) == {"exact"}
    assert (manifest.concurrency, manifest.seeds) == (3, {"jitter": 0})
    assert manifest.platform


def test_a_gate_takes_both_arms_from_one_log(both: Result, evals) -> None:
    flags = ("--metric", "exact", "--margin", "0.2")
    as_run = evals("gate", *flags, "--run", "both.jsonl", "--json")
    as_candidate = evals("gate", *flags, "--candidate", "both.jsonl", "--json")
    spelled_out = evals("gate", *flags, "--candidate", "both.jsonl", "--baseline", "both.jsonl", "--json")
    for result in (as_run, as_candidate, spelled_out):
        found = json.loads(result.stdout)
        assert (found["verdict"], found["release"], found["baseline"]) == ("pass", "faq@2", "faq@1")
        assert len(found["flips"]["exact"]["improved"]) == 3
    verdict = json.loads(Path("verdicts/faq@2.verdict.json").read_text())["predicate"]
    assert verdict["candidate_run"]["name"] == "both.jsonl#candidate"
    assert verdict["baseline_run"]["name"] == "both.jsonl#baseline"


def test_the_arms_of_two_runs_can_meet(both: Result, evals, suite: Path, serve) -> None:
    url = serve(forgetful, release=AS_ASKED)
    assert evals("run", suite, "--base-url", url, "--model", "faq@3", "--out", "alone.jsonl").exit_code == 0
    flags = ("--metric", "exact", "--margin", "0.2", "--json")
    found = json.loads(evals("gate", *flags, "--candidate", "alone.jsonl", "--baseline", "both.jsonl").stdout)
    assert (found["release"], found["baseline"]) == ("faq@3", "faq@1")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--run", "alone.jsonl"], "has one arm"),
        (["--run", "alone.jsonl", "--candidate", "alone.jsonl"], "--run holds both arms"),
        ([], "--candidate"),
    ],
)
def test_a_gate_says_what_it_needs(evals, tmp_path: Path, make_log, args: list[str], expected: str) -> None:
    make_log(tmp_path / "alone.jsonl", {"a": 1.0})
    result = evals("gate", "--margin", "0.2", *args)
    assert (result.exit_code, expected in result.stderr) == (3, True), result.output


def test_json_holds_both_arms_and_their_difference(evals, suite: Path, serve) -> None:
    url = serve(forgetful, release=AS_ASKED)
    args = ("run", suite, "--base-url", url, "--model", "faq@2", "--baseline", "faq@1", "--epochs", 2, "--json")
    found = json.loads(evals(*args).stdout)
    assert found["metrics"]["exact"]["mean"] == 1.0
    assert found["baseline"]["metrics"]["exact"]["mean"] == pytest.approx(0.9)
    assert found["difference"]["exact"]["mean"] == pytest.approx(0.1)
    assert len(found["difference"]["exact"]["rose"]) == 3
    assert found["baseline"]["noise"]["exact"]["shares"] == {"sample": 1.0, "sampling": 0.0, "judge": None}


def test_a_model_is_no_baseline_of_itself(evals, suite: Path) -> None:
    result = evals("run", suite, "--model", "m", "--baseline", "m")
    assert (result.exit_code, "--baseline is --model" in result.stderr) == (2, True)


def test_a_run_of_one_arm_is_not_gone_on_with_as_two(both: Result, evals, suite: Path) -> None:
    result = evals("run", suite, "--model", "faq@2", "--out", "both.jsonl")
    assert (result.exit_code, "baseline" in result.stderr) == (3, True)


def test_a_cap_stops_the_run_as_invalid_and_a_higher_one_goes_on(evals, suite: Path, serve, parrot) -> None:
    url = serve(parrot)
    args = ("run", suite, "--base-url", url, "--model", "faq@2", "--out", "run.jsonl")
    first = evals(*args, "--max-cost", "0.12")
    assert first.exit_code == 3
    assert "stopped: 0.12 spent of --max-cost 0.12" in first.stderr
    assert "asks for those samples again" not in first.stdout
    assert "evidence is missing: the same command again would not change that" in first.stdout
    assert "over_budget 18" in first.stdout
    assert "the whole suite would cost about 0.3 [0.3, 0.3]" in first.stdout
    gate = evals("gate", "--at-least", "0.1", "--candidate", "run.jsonl", "--json")
    assert (gate.exit_code, json.loads(gate.stdout)["verdict"]) == (3, "invalid")
    assert evals(*args, "--max-cost", "0.12").exit_code == 3, "the cap is the log's, not the attempt's"
    second = evals(*args, "--max-cost", "0.30")
    assert second.exit_code == 0, second.output
    costs = [r.answer.cost for r in run_log.read(Path("run.jsonl")).records if r.answer and r.outcome == "scored"]
    assert sum(map(Decimal, costs)) == Decimal("0.30")


def test_a_cap_without_costs_stops_instead_of_being_ignored(evals, suite: Path, serve, parrot) -> None:
    url = serve(parrot, cost=None)
    result = evals("run", suite, "--base-url", url, "--model", "faq@2", "--max-cost", "5")
    assert result.exit_code == 3
    assert "the answers carry no cost" in result.stderr
    assert "over_budget 29" in result.stdout


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "ten"])
def test_a_cap_is_an_amount(evals, suite: Path, amount: str) -> None:
    assert f"found '{amount}'" in evals("run", suite, "--model", "m", "--max-cost", amount).stderr


def test_a_price_file_says_what_a_run_will_cost(evals, suite: Path, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(
        'version: "v1"\ncurrency: USD\nmodels: {faq: {input: "0.20", output: "0.60"}}\n'
    )
    command = ("run", suite, "--model", "faq@2", "--prices", "prices.yaml", "--dry-run")
    shown = evals(*command).stdout
    assert "USD for input" in shown
    assert "(list prices 'v1', no judges)" in shown
    assert json.loads(evals(*command, "--json").stdout)["cost"]["currency"] == "USD"
    assert "no price for 'other'" in evals("run", suite, "--model", "other", *command[4:]).stderr


def test_a_dry_run_sends_nothing_and_leaves_nothing(evals, suite: Path) -> None:
    result = evals("run", suite, "--model", "faq@2", "--baseline", "faq@1", "--epochs", 2, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "samples: 30, 2 times of each of two models" in result.stdout
    assert "requests: 120" in result.stdout
    assert "output tokens: 960 at most" in result.stdout
    assert not Path("runs").exists()
    found = json.loads(evals("run", suite, "--model", "m", "--dry-run", "--json").stdout)
    assert (found["requests"], found["most_output_tokens"]) == (30, 240)


def test_quiet_says_nothing(evals, suite: Path, serve, parrot) -> None:
    assert evals("run", suite, "--base-url", serve(parrot), "--model", "faq@2", "--quiet").stderr == ""


def test_a_second_run_takes_the_answers_from_the_cache_and_a_gate_refuses_them(
    evals, suite: Path, serve, parrot
) -> None:
    asked: list[dict] = []

    def counted(body: dict) -> tuple[int, dict]:
        asked.append(body)
        return parrot(body)

    args = ("run", suite, "--base-url", serve(counted), "--model", "faq@2", "--cache", "answers")
    assert evals(*args, "--out", "one.jsonl").exit_code == 0
    assert len(asked) == 31, "one to see who answers"
    result = evals(*args, "--out", "two.jsonl")
    assert len(asked) == 32
    assert "cache: 30 answers were not asked for" in result.stdout
    assert "cost: not reported" in result.stdout
    gate = evals("gate", "--at-least", "0.5", "--candidate", "two.jsonl", "--json")
    assert (gate.exit_code, "30 answers come from the harness's cache" in gate.stdout) == (3, True)


def test_without_a_release_there_is_no_cache(evals, suite: Path, serve, parrot) -> None:
    args = ("run", suite, "--base-url", serve(parrot, release=None), "--model", "faq@2", "--cache", "answers")
    result = evals(*args)
    assert result.stderr.count("name no release digest") == 1
    assert [path for path in Path("answers").rglob("*") if path.is_file()] == []
