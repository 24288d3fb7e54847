from datetime import UTC, datetime

from evals.gate import decide
from evals.report.facts import facts


def test_everything_the_figures_depend_on_is_named_with_its_digest(make_evidence, make_gate) -> None:
    about = {"harness": "tollgate 1", "git_revision": "abc123", "git_dirty": True, "packages": {"scipy": "1.15"}}
    ours = make_evidence({"a": 1.0, "b": 1.0}, **about, judges={"exact": "sha256:" + "1" * 64}, split="test")
    theirs = make_evidence({"a": 1.0, "b": 1.0}, release="faq@1")
    gate = make_gate(ours, {"metric": "exact", "test": "noninferior", "margin": 0.1})
    decision = decide(gate, ours, theirs, now=datetime(2026, 11, 22, tzinfo=UTC), harness="tollgate 2")
    found = {fact.name: (fact.value, fact.exact) for fact in facts({"baseline": theirs, "candidate": ours}, decision)}
    assert found["Gate"] == ("release", gate.digest())
    assert found["Candidate"] == ("faq@2", ours.release_digest)
    assert found["Baseline"] == ("faq@1", theirs.release_digest)
    assert found["Run of the candidate"] == ("faq-2.jsonl", ours.log.digest)
    assert found["Data set"] == ("faq.jsonl, split test, 2 samples", ours.log.manifest.dataset_sha256)
    assert found["Judge of exact"][1] == "sha256:" + "1" * 64
    assert found["Harness"][0] == "tollgate 2"
    assert found["Git revision"][0] == "abc123, with changes that are not committed"
    assert found["Packages"][0] == "scipy 1.15"
    assert found["Engines of the candidate"][0] == "engine-1"


def test_what_is_not_known_is_said(make_evidence) -> None:
    found = {fact.name: fact.value for fact in facts({"candidate": make_evidence({"a": "missing"})}, None)}
    assert found["Candidate"] == "asked for as faq@2"
    assert found["Git revision"] == found["Harness"] == found["Engines of the candidate"] == "not told"
    assert "Gate" not in found
