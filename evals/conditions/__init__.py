"""The conditions of a gate, tested: one module for each kind of test, all of one signature."""

from evals.conditions import failures, golden, means, ratio, slices
from evals.conditions.base import Case, Found, Tester
from evals.evidence import Evidence
from evals.gate_config import GateConfig
from gateway.contracts.verdict import Test

TESTS: dict[Test, Tester] = {
    "noninferior": means.test,
    "absolute": means.test,
    "max_failures": failures.test,
    "ratio": ratio.test,
    "golden": golden.test,
}


def test_all(gate: GateConfig, candidate: Evidence, baseline: Evidence | None) -> tuple[list[Found], list[str]]:
    """Every condition of a gate in the order of its file (metrics, slices, golden samples), and what is only told."""
    plain = [TESTS[one.test](Case(gate, one, candidate, baseline)) for one in gate.metrics]
    sliced, notes = slices.test(gate, candidate, baseline)
    kept = [golden.test(Case(gate, one.condition(), candidate, baseline)) for one in gate.golden]
    return [*plain, *sliced, *kept], notes
