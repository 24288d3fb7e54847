from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.composition import Plan, Target
from evals.config import ScorerSpec, SuiteConfig
from evals.selftest.live import Setup
from gateway.contracts.errors import InputError
from tests.evals.bench import dataset

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONINFERIOR = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.1}
FLOOR = {"metric": "exact", "owner": "product", "test": "absolute", "at_least": 0.6}


def setup(make_evidence, make_gate, *metrics, params: dict, suite: str = "faq", said: list[str]) -> Setup:
    data = dataset(5)
    gate = make_gate(make_evidence({"a": 1.0}), *metrics, dataset_sha256=data.digest)
    config = SuiteConfig(suite=suite, dataset="d.jsonl", params=params, scorers=(ScorerSpec(name="exact"),))
    plan = Plan(config, data, Path(), Target("http://127.0.0.1:1/v1", "faq@1"), NOW)
    return Setup(gate, plan, Path("logs"), 0, said.append, lambda run, left: None, NOW)  # type: ignore[arg-type,return-value]


def test_the_model_is_its_own_baseline_and_the_seed_goes(make_evidence, make_gate) -> None:
    said: list[str] = []
    made = setup(make_evidence, make_gate, NONINFERIOR, params={"temperature": 1, "seed": 3}, said=said).checked()
    assert (made.plan.target.model, made.plan.target.baseline) == ("faq@1", "faq@1")
    assert made.plan.suite.params == {"temperature": 1}
    assert len(said) == 1


def test_a_gate_of_floors_asks_once(make_evidence, make_gate) -> None:
    said: list[str] = []
    made = setup(make_evidence, make_gate, FLOOR, params={"temperature": 1}, said=said).checked()
    assert (made.plan.target.baseline, said) == (None, [])


def test_another_suite_is_refused(make_evidence, make_gate) -> None:
    with pytest.raises(InputError, match="the gate is for suite 'faq'"):
        setup(make_evidence, make_gate, FLOOR, params={}, suite="other", said=[]).checked()
