import json
from pathlib import Path

import pytest

from evals import run_log
from gateway.contracts import attestation, release


def scores(wrong: int = 0) -> dict[str, object]:
    return {f"s{i:03}": 0.0 if i < wrong else 1.0 for i in range(100)}


@pytest.fixture
def logs(tmp_path: Path, make_log) -> Path:
    make_log(tmp_path / "base.jsonl", scores(5), release="faq@1")
    make_log(tmp_path / "good.jsonl", scores(5), release="faq@2")
    make_log(tmp_path / "bad.jsonl", scores(30), release="faq@3")
    return tmp_path


@pytest.fixture
def gate(logs: Path) -> Path:
    digest = run_log.read(logs / "base.jsonl").manifest.dataset_sha256
    path = logs / "gate.yaml"
    path.write_text(
        f"gate: faq-release\nsuite: faq\ndataset_sha256: {digest}\nmetrics:\n"
        "  - {metric: exact, owner: ml, test: noninferior, margin: 0.1, planned_sd: 0.3}\n"
        "  - {metric: exact, owner: product, test: absolute, at_least: 0.6}\n"
    )
    return path


def test_a_good_release_passes_and_every_document_is_written(evals, gate: Path) -> None:
    assert evals("keys", "--private", "gate.pem", "--public", "gate.pub").exit_code == 0
    result = evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "good.jsonl", "--sign-with", "gate.pem")
    assert result.exit_code == 0, result.output
    assert "pass: faq@2 sha256:" in result.stdout
    folder = Path("verdicts")
    assert sorted(path.name for path in folder.iterdir()) == [
        "faq@2.dsse.json",
        "faq@2.html",
        "faq@2.junit.xml",
        "faq@2.md",
        "faq@2.verdict.json",
    ]
    signed = attestation.verify((folder / "faq@2.dsse.json").read_bytes(), [attestation.load_public(Path("gate.pub"))])
    assert signed.statement() == json.loads((folder / "faq@2.verdict.json").read_bytes())
    verified = evals("verify", folder / "faq@2.dsse.json", "--key", "gate.pub")
    assert verified.exit_code == 0
    assert "signature: good" in verified.stdout
    assert "pass: faq@2" in verified.stdout


def test_a_bad_release_fails_with_exit_code_1(evals, gate: Path) -> None:
    result = evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "bad.jsonl", "--out", "deep/er")
    assert result.exit_code == 1
    assert "fail: faq@3" in result.stdout
    assert json.loads(Path("deep/er/faq@3.verdict.json").read_bytes())["predicate"]["verdict"] == "fail"


def test_an_inconclusive_gate_is_exit_code_2(evals, logs: Path, make_log) -> None:
    make_log(logs / "few.jsonl", {f"s{i}": i % 4 / 3 for i in range(20)})
    result = evals("gate", "--at-least", 0.4, "--candidate", "few.jsonl")
    assert result.exit_code == 2
    assert "inconclusive" in result.stdout


def test_an_invalid_gate_is_exit_code_3(evals, gate: Path, logs: Path, make_log) -> None:
    make_log(logs / "partial.jsonl", scores(), limit=50)
    result = evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "partial.jsonl")
    assert result.exit_code == 3
    assert "--limit 50" in result.stdout


def test_an_underpowered_gate_is_exit_code_3(evals, gate: Path) -> None:
    gate.write_text(gate.read_text().replace("planned_sd: 0.3", "planned_sd: 0.9"))
    result = evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "good.jsonl", "--json")
    assert result.exit_code == 3
    assert "samples are needed" in json.loads(result.stdout)["metrics"][0]["reason"]


def test_a_gate_of_flags_says_that_it_had_no_plan(evals, logs: Path) -> None:
    args = ["--margin", "0.1", "--metric", "exact", "--baseline", "base.jsonl", "--candidate", "good.jsonl"]
    result = evals("gate", *args)
    assert result.exit_code == 0, result.output
    assert "no plan" in result.stdout


def test_a_metric_that_is_named_twice_is_tested_once(evals, logs: Path) -> None:
    args = ["--margin", "0.1", "--metric", "exact", "--baseline", "base.jsonl", "--candidate", "good.jsonl", "--json"]
    once, twice = evals("gate", *args), evals("gate", *args, "--metric", "exact")
    assert (twice.exit_code, json.loads(twice.stdout)["metrics"]) == (0, json.loads(once.stdout)["metrics"])


def test_json_carries_the_decision(evals, gate: Path) -> None:
    result = evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "bad.jsonl", "--json")
    found = json.loads(result.stdout)
    assert (found["verdict"], found["release"], found["baseline"]) == ("fail", "faq@3", "faq@1")
    assert found["metrics"][0]["estimate"] == pytest.approx(-0.25)
    assert found["flips"]["exact"]["regressed"] == [f"s{i:03}" for i in range(5, 30)]
    assert "verdicts/faq@3.md" in found["files"]


def test_a_tampered_log_is_refused(evals, gate: Path, logs: Path) -> None:
    bad = logs / "bad.jsonl"
    bad.write_bytes(bad.read_bytes().replace(b'"value":0.0', b'"value":1.0'))
    result = evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "bad.jsonl")
    assert result.exit_code == 3
    assert "altered after the run" in result.stderr
    assert not Path("verdicts").exists()


def test_another_manifest_is_refused(evals, gate: Path) -> None:
    Path("release.yaml").write_text("schema: tollgate.release/v1\nname: faq@2\nmodel: {id: m}\nengine: {name: vllm}\n")
    args = ["--baseline", "base.jsonl", "--candidate", "good.jsonl", "--release", "release.yaml", "--json"]
    result = evals("gate", gate, *args)
    assert result.exit_code == 3
    assert release.load(Path("release.yaml")).digest() in json.loads(result.stdout)["reason"]


def test_a_run_without_a_release_leaves_reports_but_no_verdict(evals, logs: Path, make_log) -> None:
    make_log(logs / "direct.jsonl", scores(), release="")
    result = evals("gate", "--at-least", 0.5, "--candidate", "direct.jsonl")
    assert result.exit_code == 3
    assert "through the gateway" in result.stdout
    assert sorted(path.name for path in Path("verdicts").iterdir()) == ["flags.html", "flags.junit.xml", "flags.md"]


def test_a_gate_that_is_stopped_has_decided_nothing(evals, gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("evals.cli.gate.decide", interrupted)
    result = evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "bad.jsonl")
    assert (result.exit_code, "stopped before it told what it decided" in result.stderr) == (3, True)
    assert not Path("verdicts").exists()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "--candidate"),
        (["--candidate", "good.jsonl"], "nothing to test"),
        (["--candidate", "nope.jsonl", "--margin", "0.1"], "no readable run log"),
        (["--candidate", "good.jsonl", "--margin", "2"], "--margin"),
        (["--nope"], "--nope"),
        (["gate.yaml", "--candidate", "good.jsonl", "--margin", "0.1"], "without a file"),
        (["nope.yaml", "--candidate", "good.jsonl"], "no such file"),
        (["gate.yaml", "--candidate", "good.jsonl", "--baseline", "base.jsonl", "--sign-with", "no.pem"], "evals keys"),
    ],
)
def test_every_breakage_of_a_gate_is_exit_code_3(evals, gate: Path, args: list[str], expected: str) -> None:
    result = evals("gate", *args)
    assert (result.exit_code, expected in result.stderr) == (3, True), result.output
