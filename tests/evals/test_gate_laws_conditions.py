"""Law 7 over gates with every kind of condition: nothing that got worse or got lost ever makes a release pass."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.gate import decide
from gateway.contracts.verdict import ADMITTED

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
METRICS = [
    {"metric": "exact", "test": "noninferior", "margin": 0.6},
    {"metric": "exact", "test": "absolute", "at_least": 0.2},
    {"metric": "exact", "test": "max_failures", "max_failures": 2, "n_min": 12},
    {"metric": "cost_per_ok", "of": "exact", "test": "ratio", "max_ratio": 2.0, "tier": "supporting"},
    {"metric": "latency_p50", "test": "ratio", "max_ratio": 2.0, "tier": "advisory"},
]
SLICES = {"tags": ["lang:*"], "metrics": ["exact"], "margin": 0.9, "n_min": 5, "else": "note"}
WAIVERS = [
    {"metric": metric, "test": test, "owner": "ml", "reason": "known", "expires": NOW + timedelta(days=1)}
    for metric, test in (("exact", "max_failures"), ("exact[golden]", "golden"))
]
VALUE = st.sampled_from([0.0, 0.5, 1.0, 1.0, 1.0, "system", "missing"])
FALLING = [1.0, 0.5, 0.0, "system", "missing"]
rows = st.lists(st.tuples(VALUE, st.sampled_from([0.0, 1.0, 1.0, "system"])), min_size=12, max_size=24)


@pytest.fixture(scope="session")
def judge(make_evidence, make_gate):
    def decision(rows, waived: bool, golden: int = 1):
        tags = {f"s{i}": [f"lang:{i % 2}", *(["golden"] if i < 3 else [])] for i in range(len(rows))}
        ours = make_evidence({f"s{i}": row[0] for i, row in enumerate(rows)}, tags=tags)
        theirs = make_evidence({f"s{i}": row[1] for i, row in enumerate(rows)}, tags=tags, release="faq@1")
        about = {"metric": "exact", "max_regressed": golden}
        gate = make_gate(ours, *METRICS, slices=SLICES, golden=about, waivers=WAIVERS if waived else ())
        return decide(gate, ours, theirs, now=NOW, harness="test 1")

    return decision


@given(rows, st.booleans(), st.data())
@settings(deadline=None, max_examples=15)
def test_law_nothing_that_got_worse_makes_a_release_pass(judge, rows, waived: bool, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(rows) - 1))
    # A wrong answer is worse than a right one, none at all is worse than a wrong one, and no evidence is the worst.
    worse = data.draw(st.sampled_from(FALLING[FALLING.index(rows[position][0]) :]))
    before = judge(rows, waived)
    after = judge([*rows[:position], (worse, rows[position][1]), *rows[position + 1 :]], waived)
    assert not (after.answer == "pass" and before.answer != "pass")
    assert not (after.answer in ADMITTED and before.answer not in ADMITTED)
    for old, new in zip(before.metrics, after.metrics, strict=True):
        assert (old.metric, old.test) == (new.metric, new.test)
        assert not (new.verdict == "pass" and old.verdict != "pass")
        assert (new.failures or 0) >= (old.failures or 0)


@given(rows, st.booleans())
@settings(deadline=None, max_examples=8)
def test_law_every_decision_makes_a_verdict_that_its_metrics_hold_up(judge, rows, waived: bool) -> None:
    decision = judge(rows, waived)
    assert decision.verdict is not None  # its own rules were checked when it was made
    assert decision.verdict.predicate.verdict == decision.answer
    assert (decision.answer == "waived") <= waived
    assert bool(decision.waivers) == any(metric.verdict == "waived" for metric in decision.metrics)
    if decision.answer == "waived":
        assert decision.verdict.predicate.expires == NOW + timedelta(days=1)
    assert decision == judge(rows, waived)


def test_the_gate_of_these_laws_can_pass_fail_and_be_waived(judge) -> None:
    """A law about verdicts that no case reaches holds nothing."""
    good, bad, golden = [(1.0, 1.0)] * 24, [(0.0, 1.0)] * 24, [(0.0, 1.0)] * 2 + [(1.0, 1.0)] * 22
    assert [judge(rows, False).answer for rows in (good, bad, golden)] == ["pass", "fail", "fail"]
    assert [judge(rows, True).answer for rows in (good, bad, golden)] == ["pass", "fail", "waived"]
