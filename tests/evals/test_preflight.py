from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evals.config import SuiteConfig
from evals.dataset import Dataset
from evals.gate_config import GateConfig
from evals.preflight import Intent, refusals
from evals.schema import Sample

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
BOTH = Intent(baseline=True)
SUITE: dict[str, Any] = {"suite": "faq", "dataset": "d.jsonl", "scorers": [{"name": "exact"}]}
GATE: dict[str, Any] = {
    "gate": "g",
    "suite": "faq",
    "dataset_sha256": DIGEST,
    "metrics": [{"metric": "exact", "test": "noninferior", "margin": 0.1, "planned_sd": 0.3}],
}


def check(
    gate: dict[str, Any] | None = None, suite: dict[str, Any] | None = None, intent: Intent = BOTH, count: int = 200
) -> str:
    samples = tuple(Sample(id=f"s{i}", input="q", tags=["all"]) for i in range(count))
    data = Dataset(Path("d.jsonl"), samples, {}, DIGEST)
    loaded = SuiteConfig.model_validate(SUITE | (suite or {}))
    return "; ".join(refusals(GateConfig.model_validate(GATE | (gate or {})), loaded, data, intent, {}, NOW))


def test_a_run_that_the_gate_can_decide_on_is_not_refused() -> None:
    assert check() == ""


FLOOR = {"metric": "exact", "card": "card.yaml", "min_tpr": 0.9, "min_tnr": 0.9, "min_kappa": 0.5}
JUDGED = {
    "scorers": [{"name": "exact"}, {"name": "judge", "as": "tone", "rubric": "Polite."}],
    "judge": {"model": "j@1"},
}
TONE = {"metric": "tone", "test": "absolute", "at_least": 0.8}


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"gate": {"suite": "other"}}, "the gate is of suite 'other', and this is 'faq'"),
        ({"gate": {"dataset_sha256": "sha256:" + "b" * 64}}, "the gate is for data set sha256:bbb"),
        ({"gate": {"split": "test"}}, "the gate is for the split 'test', and the suite uses no split"),
        ({"intent": Intent(baseline=False)}, "name the release that is live with --baseline"),
        ({"intent": Intent(baseline=True, limit=10)}, "--limit 10 makes a partial run"),
        ({"intent": Intent(baseline=True, cached=True)}, "--cache may answer from an earlier run"),
        ({"gate": {"metrics": [GATE["metrics"][0] | {"metric": "f1"}]}}, "the suite has no metric 'f1': it has exact"),
        ({"gate": {"metrics": [GATE["metrics"][0] | {"tag": "safty"}]}}, "no sample has the tag 'safty'"),
        ({"count": 40}, "exact: planned power is 0."),
        ({"suite": JUDGED, "gate": {"metrics": [*GATE["metrics"], TONE]}}, "names no card of it"),
        ({"gate": {"judges": [FLOOR]}}, "judge of 'exact': its card 'card.yaml' was not read"),
    ],
)
def test_what_would_be_wasted_is_refused(changed: dict[str, Any], because: str) -> None:
    assert because in check(**changed)


def test_what_does_no_harm_is_let_through() -> None:
    assert check(intent=Intent(baseline=True, limit=200)) == ""
    assert check(gate={"cached": "allow"}, intent=Intent(baseline=True, cached=True)) == ""
    assert check(gate={"metrics": [TONE | {"metric": "exact"}]}, intent=Intent(baseline=False)) == ""
    allowed = {"judges_unmeasured": "allow", "metrics": [*GATE["metrics"], TONE]}
    assert check(gate=allowed, suite=JUDGED) == ""
