from datetime import UTC, datetime

import pytest

from evals.decision import Decision
from evals.gate import decide
from evals.report.markdown import number, render

NONINFERIOR = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.1}
ABSOLUTE = {"metric": "exact", "owner": "product", "test": "absolute", "at_least": 0.6}


@pytest.fixture
def decision(make_evidence, make_gate) -> Decision:
    values = {f"s{i}": 1.0 for i in range(60)}
    tags = {"s0": ["plans|x"]}
    candidate = make_evidence(values | {"s0": 0.0}, tags=tags)
    baseline = make_evidence(values, tags=tags, release="faq@1")
    gate = make_gate(candidate, NONINFERIOR, ABSOLUTE)
    return decide(gate, candidate, baseline, now=datetime(2026, 11, 22, tzinfo=UTC), harness="test")


def test_the_document_says_what_was_decided_on_what(decision: Decision) -> None:
    text = render(decision)
    assert text.startswith("# pass: faq@2\n")
    assert f"`{decision.release_digest}`" in text
    assert "against faq@1" in text
    assert "counts until 2026-12-06 00:00 UTC" in text
    assert "`exact`: 1 samples fell, 0 rose." in text
    assert "- Fell: `s0`" in text
    assert text.index("<details>") < text.index("- Fell: `s0`") < text.index("</details>")
    assert "2 conditions, 2 pass" in text


def test_what_did_not_hold_says_why_and_who_answers_for_it(make_evidence, make_gate) -> None:
    values = {f"s{i:02}": float(i > 20) for i in range(60)}
    tags = {f"s{i:02}": ["golden"] for i in range(18, 22)}
    candidate, baseline = (
        make_evidence(values, tags=tags),
        make_evidence(dict.fromkeys(values, 1.0), release="faq@1", tags=tags),
    )
    until = datetime(2026, 11, 30, tzinfo=UTC)
    gate = make_gate(
        candidate,
        NONINFERIOR,
        {"metric": "latency_p50", "owner": "sre", "tier": "supporting", "test": "ratio", "max_ratio": 1.1},
        golden={"metric": "exact", "owner": "sales"},
        waivers=[
            {"metric": "exact", "owner": "ml", "reason": "known", "expires": until},
            {"metric": "exact[golden]", "owner": "sales", "reason": "sold out", "expires": until},
        ],
    )
    text = render(decide(gate, candidate, baseline, now=datetime(2026, 11, 22, tzinfo=UTC), harness="test"))
    assert text.startswith("# waived: faq@2\n")
    assert "counts until 2026-11-30 00:00 UTC" in text
    assert "| latency_p50 | sre | supporting | ratio | 1.0000 | [1.0000, 1.0000] | &lt;= 1.1 | 60 |" in text
    assert "| exact[golden] | sales | critical | golden | 3 of 4 | - | &lt;= 0 | 4 |" in text
    assert "- **waived** `exact[golden]` (golden, sales): fail, waived by sales until 2026-11-30 (sold out)" in text
    assert "- **waived** `exact` (noninferior, ml): fail, waived by ml until 2026-11-30 (known): the upper" in text


def test_each_metric_has_a_row_with_its_figures_and_owner(decision: Decision) -> None:
    rows = [line for line in render(decision).splitlines() if line.startswith("| exact |")]
    assert len(rows) == 2
    assert "| ml | critical | noninferior | -0.0167 | [" in rows[0]
    assert "| >= -0.1 | 60 | 60 | 0 + 0 | - | **pass** |" in rows[0]
    assert "| product | critical | absolute | 0.9833 |" in rows[1]


def test_text_cannot_break_out_of_a_table(decision: Decision) -> None:
    assert "| plans\\|x | exact | -1.0000 | 1 |" in render(decision)


def test_problems_are_listed_without_a_table() -> None:
    text = render(Decision("g", "invalid", "the run is mixed", (), problems=("the run is mixed",)))
    assert text == "# invalid: no release\n\nGate `g`: the run is mixed.\n\n> the run is mixed\n"


def test_long_lists_are_cut_and_counted(make_evidence, make_gate) -> None:
    values = {f"s{i:02}": 1.0 for i in range(60)}
    candidate = make_evidence(values | {f"s{i:02}": 0.0 for i in range(30)})
    baseline = make_evidence(values, release="faq@1")
    gate = make_gate(candidate, NONINFERIOR)
    text = render(decide(gate, candidate, baseline, now=datetime(2026, 11, 22, tzinfo=UTC), harness="test"))
    assert "`s19` and 10 more" in text


@pytest.mark.parametrize(("value", "expected"), [(None, "-"), (0.12345, "0.1235"), (-1.0, "-1.0000")])
def test_figures(value: float | None, expected: str) -> None:
    assert number(value) == expected
