import json
import random
from pathlib import Path

import pytest

from evals import dataset

ANSWERS = "pass", "fail", "inconclusive", "invalid"


def gate_file(path: Path, digest: str, *metrics: str, suite: str = "faq", head: str = "") -> Path:
    listed = "".join(f"  - {{{metric}}}\n" for metric in metrics)
    path.write_text(f"gate: release\nsuite: {suite}\ndataset_sha256: {digest}\n{head}metrics:\n{listed}")
    return path


MARGIN = "metric: exact, owner: ml, test: noninferior, margin: 0.12, planned_sd: 0.3"
FLOOR = "metric: exact, owner: product, test: absolute, at_least: 0.6"


def values(seed: int, count: int = 200) -> dict[str, float]:
    steady, fresh = random.Random(0), random.Random(seed)
    return {f"s{i:03}": float((steady.random() < 0.8) != (fresh.random() < 0.03)) for i in range(count)}


@pytest.fixture
def twice(make_arms, tmp_path: Path) -> Path:
    return make_arms(tmp_path / "aa.jsonl", values(1), values(2))


@pytest.fixture
def gate(make_evidence, tmp_path: Path) -> Path:
    digest = make_evidence(values(1)).log.manifest.dataset_sha256
    return gate_file(tmp_path / "gate.yaml", digest, MARGIN, FLOOR)


def test_a_sound_gate(evals, gate: Path, twice: Path) -> None:
    result = evals("selftest", gate, "--run", twice, "--repeats", 40)
    assert result.exit_code == 0, result.output
    assert "exact (noninferior)" in result.stdout
    assert "worse by 0.12" in result.stdout
    assert "as designed" in result.stdout
    assert "drawn from 200 samples in 200 clusters, seed 0" in result.stdout
    assert "the arms are two releases" in result.stdout
    assert "the gate plans with 0.3 and 1" in result.stdout


def test_json_for_a_script_and_the_same_seed_says_the_same(evals, gate: Path, twice: Path) -> None:
    first, again, other = (
        json.loads(evals("selftest", gate, "--run", twice, "--repeats", 12, "--json", "--seed", seed).stdout)
        for seed in (5, 5, 6)
    )
    assert first == again
    assert first["rows"] != other["rows"]
    assert (first["gate"], first["exit_code"], first["seed"]) == ("release", 0, 5)
    assert [(row["truth"], row["condition"]) for row in first["rows"]] == [
        ("equal", "the gate"), ("equal", "exact"), ("equal", "exact"), ("regressed", "exact"), ("regressed", "exact"),
    ]  # fmt: skip
    row = first["rows"][3]
    assert sum(row["counts"].values()) == row["repetitions"] == 12
    assert row["limits"] == {"most_pass": 0.05, "least_pass": None, "most_fail": None}
    low, high = row["intervals"]["pass"]
    assert low <= row["counts"]["pass"] / 12 < high
    assert set(first["flips"]) == {"fail", "contradict", "differ"}


def test_two_logs_or_epochs_are_two_arms_as_well(evals, gate: Path, make_log, tmp_path: Path) -> None:
    one, other = make_log(tmp_path / "one.jsonl", values(1)), make_log(tmp_path / "two.jsonl", values(2))
    both = evals("selftest", gate, "--run", one, "--baseline", other, "--repeats", 20, "--json")
    assert both.exit_code == 0, both.output
    epochs = make_log(tmp_path / "epochs.jsonl", {key: [value, values(2)[key]] for key, value in values(1).items()})
    halves = evals("selftest", gate, "--run", epochs, "--repeats", 20, "--json")
    assert json.loads(halves.stdout)["rows"] == json.loads(both.stdout)["rows"]
    alone = evals("selftest", gate, "--run", one)
    assert (alone.exit_code, "--epochs 2" in alone.stderr) == (3, True)


def test_a_gate_that_is_too_weak_says_what_to_do(evals, make_evidence, twice: Path, tmp_path: Path) -> None:
    digest = make_evidence(values(1)).log.manifest.dataset_sha256
    weak = gate_file(tmp_path / "weak.yaml", digest, MARGIN.replace("0.12", "0.03").replace("0.3}", "0.1}"))
    result = evals("selftest", weak, "--run", twice, "--repeats", 20)
    assert result.exit_code == 2
    assert "little power" in result.stdout
    assert "take more samples" in result.stdout


def test_a_run_that_carries_no_verdict(evals, gate: Path, make_arms, tmp_path: Path) -> None:
    short = make_arms(tmp_path / "short.jsonl", values(1, 50), values(2, 50))
    result = evals("selftest", gate, "--run", short)
    assert result.exit_code == 3
    assert "cannot carry a verdict" in result.stderr


SUITE = """suite: numbers
dataset: questions.jsonl
params: {temperature: 1, seed: 7}
scorers: [{name: exact}]
max_retries: 0
"""


@pytest.fixture
def live_gate(tmp_path: Path, questions: Path) -> Path:
    (tmp_path / "suite.yaml").write_text(SUITE)
    wide = MARGIN.replace("0.12", "0.5").replace("0.3", "0.3")
    digest = dataset.load(questions).digest
    return gate_file(tmp_path / "live.yaml", digest, wide, suite="numbers", head="design: {power: 0.5}\n")


def test_fresh_answers_for_every_repetition(evals, live_gate: Path, serve, parrot, tmp_path: Path) -> None:
    asked = []

    def reply(body: dict) -> tuple[int, dict]:
        asked.append(body)
        return parrot(body)

    command = (
        "selftest",
        live_gate,
        "--suite",
        "suite.yaml",
        "--model",
        "faq@1",
        "--repeats",
        3,
        "--base-url",
        serve(reply),
    )
    result = evals(*command, "--json")
    assert result.exit_code == 0, result.output
    assert len(asked) == 3 * 2 * 30
    assert all("seed" not in body for body in asked)
    assert "the suite's seed is left out" in result.stderr
    assert "repetition 3 of 3" in result.stderr
    assert "50.00% of other answers make a regression of 0.5" in result.stderr
    found = json.loads(result.stdout)
    assert {name: found["rows"][0]["counts"][name] for name in ANSWERS} == {
        "pass": 3, "fail": 0, "inconclusive": 0, "invalid": 0,
    }  # fmt: skip
    assert found["rows"][2]["counts"]["pass"] == 0
    assert sorted(path.name for path in Path("runs/selftest-release").iterdir()) == [
        "001.jsonl",
        "002.jsonl",
        "003.jsonl",
    ]
    assert json.loads(evals(*command, "--json", "--quiet").stdout)["rows"] == found["rows"]
    assert len(asked) == 3 * 2 * 30, "what was asked once is not asked again"


@pytest.mark.parametrize("source", [("--run", "aa.jsonl"), ("--suite", "suite.yaml", "--model", "m")])
@pytest.mark.usefixtures("twice")
def test_one_that_is_stopped_has_found_nothing(
    evals, live_gate: Path, gate: Path, monkeypatch: pytest.MonkeyPatch, source: tuple[str, ...]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("evals.cli.selftest.Offline", interrupted)
    monkeypatch.setattr("evals.cli.selftest.repeated", interrupted)
    result = evals("selftest", gate if "--run" in source else live_gate, *source)
    assert (result.exit_code, "stopped" in result.stderr) == (3, True)


def test_a_worse_model_can_be_what_is_planted(evals, live_gate: Path, serve, parrot) -> None:
    asked = []

    def reply(body: dict) -> tuple[int, dict]:
        asked.append(body["model"])
        return parrot(body) if body["model"] == "faq@1" else (500, {})

    result = evals(
        "selftest", live_gate, "--suite", "suite.yaml", "--model", "faq@1", "--broken", "faq@0", "--repeats", 2,
        "--base-url", serve(reply), "--out", "logs",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert asked.count("faq@0") == 30
    assert "planted: answers of faq@0" in result.stdout
    assert sorted(path.name for path in Path("logs").iterdir()) == ["001.jsonl", "002.jsonl", "broken.jsonl"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "either --run LOG, or --suite"),
        (["--run", "aa.jsonl", "--suite", "suite.yaml"], "either --run LOG, or --suite"),
        (["--suite", "suite.yaml"], "needs --model"),
        (["--suite", "suite.yaml", "--model", "m", "--baseline", "b.jsonl"], "belongs to --run"),
        (["--run", "nope.jsonl"], "no readable run log"),
        (["--run", "aa.jsonl", "--repeats", "1"], "1 is not in the range"),
    ],
)
def test_mistakes_are_named_and_are_no_verdict(evals, live_gate: Path, args: list[str], expected: str) -> None:
    result = evals("selftest", live_gate, *args)
    assert (result.exit_code, expected in result.stderr) == (3, True), result.output


def test_a_gate_for_another_suite_is_refused_before_anything_is_asked(evals, live_gate: Path, gate: Path) -> None:
    result = evals("selftest", gate, "--suite", "suite.yaml", "--model", "m", "--base-url", "http://127.0.0.1:9/v1")
    assert result.exit_code == 3
    assert "the gate is for suite 'faq'" in result.stderr


def test_a_gate_that_is_refused_costs_one_repetition(evals, live_gate: Path, serve, parrot) -> None:
    live_gate.write_text(live_gate.read_text().replace("margin: 0.5", "margin: 0.05"))
    asked = []

    def reply(body: dict) -> tuple[int, dict]:
        asked.append(body)
        return parrot(body)

    command = ("selftest", live_gate, "--suite", "suite.yaml", "--model", "faq@1", "--base-url", serve(reply))
    result = evals(*command)
    assert result.exit_code == 3
    assert "repetition 1 cannot carry a verdict: exact: planned power" in result.stderr
    assert len(asked) == 2 * 30
