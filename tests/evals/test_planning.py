import pytest

from evals.planning import plan

NONINFERIOR = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.1}
ABSOLUTE = {"metric": "exact", "owner": "product", "test": "absolute", "at_least": 0.6}


def test_a_plan_on_the_data_set_of_the_gate(make_evidence, make_gate) -> None:
    gate = make_gate(make_evidence({"a": 1.0}), NONINFERIOR | {"planned_sd": 0.3}, ABSOLUTE)
    planned = plan(gate, gate.metrics[0], (400, 100, 5))
    assert planned is not None
    assert planned.power > 0.9
    assert planned.detectable is not None
    assert planned.detectable < 0.1
    assert plan(gate, gate.metrics[1], (400, 100, 5)) is None


@pytest.mark.parametrize("shape", [(0, 0, 0), (1, 1, 1), (50, 1, 50)])
def test_a_plan_on_nothing_has_no_power(make_evidence, make_gate, shape: tuple[int, int, int]) -> None:
    gate = make_gate(make_evidence({"a": 1.0}), NONINFERIOR | {"planned_sd": 0.3})
    planned = plan(gate, gate.metrics[0], shape)
    assert planned is not None
    assert planned.power == 0.0


def test_a_plan_without_noise_has_all_the_power_there_is(make_evidence, make_gate) -> None:
    for sd in (5e-324, 1e-300, 1e-7):
        gate = make_gate(make_evidence({"a": 1.0}), NONINFERIOR | {"planned_sd": sd})
        planned = plan(gate, gate.metrics[0], (400, 100, 5))
        assert planned is not None
        assert planned.power == 1.0
