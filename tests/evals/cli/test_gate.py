import json
import re
from pathlib import Path

import pytest
import yaml

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
    assert sorted(path.name for path in Path("verdicts").iterdir()) == ["flags.junit.xml", "flags.md"]


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


def test_a_signature_of_a_stranger_is_refused(evals, gate: Path) -> None:
    evals("keys", "--private", "a.pem", "--public", "a.pub")
    evals("keys", "--private", "b.pem", "--public", "b.pub")
    evals("gate", gate, "--baseline", "base.jsonl", "--candidate", "good.jsonl", "--sign-with", "a.pem")
    result = evals("verify", "verdicts/faq@2.dsse.json", "--key", "b.pub")
    assert result.exit_code == 3
    assert "no trusted key" in result.stderr


def test_keys_are_never_overwritten(evals, tmp_path: Path) -> None:
    assert evals("keys", "--private", "a.pem", "--public", "a.pub").exit_code == 0
    before = Path("a.pem").read_bytes()
    assert evals("keys", "--private", "a.pem", "--public", "c.pub").exit_code == 3
    assert Path("a.pem").read_bytes() == before


@pytest.fixture
def planned(tmp_path: Path, evals) -> Path:
    lines = [{"id": f"s{i}", "input": "q", "reference": "a", "cluster": f"c{i // 2}"} for i in range(400)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    digest = evals("data", "lint", "data.jsonl").stdout.rpartition("digest: ")[2].strip()
    path = tmp_path / "gate.yaml"
    path.write_text(
        f"gate: g\nsuite: faq\ndataset: data.jsonl\ndataset_sha256: {digest}\nmetrics:\n"
        "  - {metric: exact, test: noninferior, margin: 0.06, planned_sd: 0.3}\n"
    )
    return path


def test_a_plan_is_printed(evals, planned: Path) -> None:
    result = evals("plan", planned)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if "exact" in line).split()
    assert row[:5] == ["exact", "0.06", "400", "200", "2"]
    assert float(row[5]) > 0.8 > float(row[6])
    assert int(row[7]) < 400


def test_a_plan_without_power_is_refused(evals, planned: Path) -> None:
    planned.write_text(planned.read_text().replace("0.06", "0.02"))
    result = evals("plan", planned)
    assert result.exit_code == 3
    assert "the gate is refused: exact: planned power is 0." in result.stderr


def test_a_plan_needs_the_data_set_of_the_gate(evals, planned: Path) -> None:
    (planned.parent / "other.jsonl").write_text('{"id": "a", "input": "q"}\n')
    result = evals("plan", planned, "--dataset", "other.jsonl")
    assert (result.exit_code, "the gate is for" in result.stderr) == (3, True)
    planned.write_text(planned.read_text().replace("dataset: data.jsonl\n", ""))
    assert "--dataset" in evals("plan", planned).stderr


def test_a_plan_of_a_split_counts_the_split_alone(evals, planned: Path) -> None:
    (planned.parent / "card.yaml").write_text("name: q\nowner: me\nlicence: CC0-1.0\nmade: by hand\n")
    data = yaml.safe_load(planned.read_text())["dataset"]
    flags = ("--fraction", "dev=0.5", "--fraction", "test=0.5", "--salt", "s", "--json")
    frozen = json.loads(evals("data", "split", data, *flags).stdout)["splits"]["test"]
    text = re.sub("sha256:[0-9a-f]{64}", frozen["digest"], planned.read_text()) + "split: test\n"
    planned.write_text(text.replace("0.06", "0.5"))
    result = evals("plan", planned)
    assert result.exit_code == 0, result.stderr
    assert f" {frozen['rows']} " in result.stdout
