"""`evals gate` with every kind of condition, from a file to a signed verdict that a gateway reads."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from evals import run_log
from gateway.contracts import attestation

GATE = """gate: faq-release
suite: faq
dataset_sha256: {digest}
metrics:
  - {{metric: exact, owner: ml, test: noninferior, margin: 0.1, planned_sd: 0.3}}
  - {{metric: exact, owner: safety, test: max_failures, max_failures: 10, n_min: 100}}
  - {{metric: latency_p50, owner: sre, tier: supporting, test: ratio, max_ratio: 1.1}}
slices: {{tags: ["lang:*"], metrics: [exact], margin: 0.2, n_min: 40, owner: regions}}
golden: {{metric: exact, owner: sales}}
"""
WAIVER = """waivers:
  - {{metric: "exact[golden]", owner: sales, reason: the question is retired, expires: {expires}}}
"""


@pytest.fixture
def gate(tmp_path: Path, make_log) -> Path:
    tags = {f"s{i:03}": [f"lang:{'de' if i % 2 else 'en'}", *(["golden"] if i < 4 else [])] for i in range(100)}
    fine = {f"s{i:03}": float(i > 6) for i in range(100)} | {"s001": 1.0, "s003": 1.0}
    make_log(tmp_path / "base.jsonl", fine, release="faq@1", tags=tags)
    make_log(tmp_path / "good.jsonl", fine, release="faq@2", tags=tags)
    make_log(tmp_path / "broken.jsonl", fine | {"s003": 0.0}, release="faq@3", tags=tags)
    path = tmp_path / "gate.yaml"
    path.write_text(GATE.format(digest=run_log.read(tmp_path / "base.jsonl").manifest.dataset_sha256))
    return path


def waive(gate: Path, days: int) -> datetime:
    day = (datetime.now(UTC) + timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    gate.write_text(gate.read_text() + WAIVER.format(expires=day.date()))
    return day


ARGS = ("--baseline", "base.jsonl", "--candidate")


def test_every_condition_has_its_row(evals, gate: Path) -> None:
    result = evals("gate", gate, *ARGS, "good.jsonl", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(m["metric"], m["test"], m["owner"], m["tier"], m["verdict"]) for m in found["metrics"]] == [
        ("exact", "noninferior", "ml", "critical", "pass"),
        ("exact", "max_failures", "safety", "critical", "pass"),
        ("latency_p50", "ratio", "sre", "supporting", "pass"),
        ("exact[lang:de]", "noninferior", "regions", "critical", "pass"),
        ("exact[lang:en]", "noninferior", "regions", "critical", "pass"),
        ("exact[golden]", "golden", "sales", "critical", "pass"),
    ]
    assert found["waivers"] == []
    printed = evals("gate", gate, *ARGS, "good.jsonl").stdout
    assert "pass exact (max_failures): 5 of 100 samples failed; that shows a failure rate of at most 10.2" in printed
    assert "pass: faq@2 sha256:" in printed


def test_a_golden_sample_that_broke_fails_and_is_named(evals, gate: Path) -> None:
    result = evals("gate", gate, *ARGS, "broken.jsonl")
    assert result.exit_code == 1
    assert "fail exact[golden] (golden): 1 of 4 golden samples regressed, 0 may: s003" in result.stdout


def test_a_waiver_is_signed_and_the_gateway_reads_it_until_it_ends(evals, gate: Path) -> None:
    ends = waive(gate, 3)
    evals("keys", "--private", "gate.pem", "--public", "gate.pub")
    result = evals("gate", gate, *ARGS, "broken.jsonl", "--sign-with", "gate.pem")
    assert result.exit_code == 0, result.output
    assert "waived: faq@3 sha256:" in result.stdout
    assert f"until {ends:%Y-%m-%d} 00:00 UTC" in result.stdout
    signed = attestation.verify(
        Path("verdicts/faq@3.dsse.json").read_bytes(), [attestation.load_public(Path("gate.pub"))]
    )
    (waiver,) = signed.predicate.waivers
    assert (waiver.metric, waiver.owner, waiver.expires) == ("exact[golden]", "sales", ends)
    assert signed.refusal(signed.release_digest, datetime.now(UTC)) is None
    assert "expired" in (signed.refusal(signed.release_digest, ends) or "")
    suite = Xml.parse("verdicts/faq@3.junit.xml").getroot()
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "1")


def test_an_expired_waiver_does_not_help(evals, gate: Path) -> None:
    waive(gate, -1)
    result = evals("gate", gate, *ARGS, "broken.jsonl")
    assert result.exit_code == 1
    assert "note: the waiver of exact[golden] by sales expired on" in result.stdout


def test_a_waiver_of_nothing_is_exit_code_3(evals, gate: Path) -> None:
    gate.write_text(gate.read_text() + WAIVER.format(expires="2099-01-01").replace("exact[golden]", "exakt"))
    result = evals("gate", gate, *ARGS, "good.jsonl")
    assert (result.exit_code, "no condition of the gate is called so" in result.stderr) == (3, True)
