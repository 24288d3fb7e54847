from dataclasses import replace

from evals.gate import decide
from evals.report import content
from evals.report.content import Material
from evals.report.prompts import Found
from tests.evals.report.conftest import NOW

NONINFERIOR = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.1}
ABSOLUTE = {"metric": "exact", "test": "absolute", "at_least": 0.6}
ONES = {f"s{i:02}": 1.0 for i in range(60)}


def decided(material: Material, make_gate, *metrics):
    gate = make_gate(material.candidate, *metrics)
    return decide(gate, material.candidate, material.baseline, now=NOW, harness="test")


def test_a_decision_is_told_as_it_was_made(material, make_gate) -> None:
    found = material(ONES | {"s00": 0.0}, ONES)
    decision = decided(found, make_gate, NONINFERIOR)
    page = content.of_decision(decision, found)
    assert (page.said.answer, page.said.reason) == (decision.answer, decision.reason)
    assert (page.candidate, page.baseline, page.said.expires) == ("faq@2", "faq@1", "06 December 2026, 12:00 UTC")
    assert [one.id for one in page.said.cases[0].samples] == ["s00"]
    assert "0.95" in page.said.level


def test_a_gate_without_comparison_shows_the_lowest_of_the_candidate(material, make_gate) -> None:
    found = material(ONES | {"s00": 0.0}, ONES)
    page = content.of_decision(decided(found, make_gate, ABSOLUTE), found)
    assert (page.baseline, page.said.cases[0].kind, page.said.cases[0].total) == (None, "lowest", 1)


def test_problems_are_there_without_a_condition(material, make_gate) -> None:
    found = material(ONES, ONES, sealed=False)
    page = content.of_decision(decided(found, make_gate, NONINFERIOR), found)
    assert page.said.answer == "invalid"
    assert any("unfinished" in problem for problem in page.said.problems)


def test_two_runs_decide_nothing(material) -> None:
    page = content.of_runs(material(ONES | {"s00": 0.0}, ONES))
    assert (page.said.kind, page.said.answer, page.said.expires) == ("comparison", None, None)
    assert page.said.cases[0].total == 1
    assert page.said.notes == ("no gate has spoken: this page decides nothing",)


def test_one_run_is_a_page_too(material) -> None:
    page = content.of_runs(material(ONES | {"s00": "missing"}))
    assert (page.said.kind, page.said.headline) == ("run", "faq@2: 1 metric measured")
    assert (page.coverage[0].complete, page.coverage[0].samples) == (59, 60)
    assert page.failures[0].kind == "timeout"


def test_noise_and_retries_are_told_where_there_are_any(make_evidence, retold) -> None:
    ours = retold(make_evidence({f"s{i}": [1.0, float(i % 2)] for i in range(10)}), votes=[0.0, 1.0])
    page = content.of_runs(Material(ours, None, Found(None), NOW))
    assert [noise.metric for noise in page.noises] == ["exact"]
    assert page.retried == ()


def test_the_command_that_shows_a_sample_names_both_logs(material) -> None:
    found = material(ONES, ONES)
    assert content.show_command(found.runs) == "evals show faq-2.jsonl SAMPLE --baseline faq-1.jsonl"
    assert content.show_command(replace(found, baseline=None).runs) == "evals show faq-2.jsonl SAMPLE"
