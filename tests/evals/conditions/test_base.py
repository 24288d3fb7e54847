import pytest

from evals.conditions.base import Case, made, some, too_few, untestable
from evals.gate_config import MetricConfig

FLOOR = {"metric": "exact", "owner": "ml", "test": "absolute", "at_least": 0.5}


@pytest.fixture
def case(make_evidence, make_gate):
    def build(baseline: bool = False, **keys):
        tags = {"s2": ["plans"], "s1": ["plans"]}
        run = make_evidence({f"s{i}": 1.0 for i in range(5)}, tags=tags, clusters={"s0": "c", "s1": "c"})
        other = make_evidence({f"s{i}": 0.0 for i in range(5)}, tags=tags, release="faq@1") if baseline else None
        condition = MetricConfig.model_validate(FLOOR | keys)
        return Case(make_gate(run, FLOOR), condition, run, other)

    return build


def test_a_case_is_about_the_samples_of_its_tag_in_the_order_of_their_ids(case) -> None:
    assert [unit.id for unit in case(tag="plans").units()] == ["s1", "s2"]
    assert case().shape() == (5, 4, 2)
    assert case(baseline=True).score(case().units()[0]) == (1.0, 1.0)


def test_a_result_carries_what_its_condition_says(case) -> None:
    result = made(case(tier="advisory"), "fail", "because", samples=5, estimate=0.25)
    assert (result.metric, result.owner, result.tier, result.at_least) == ("exact", "ml", "advisory", 0.5)
    assert (result.verdict, result.reason, result.samples, result.estimate) == ("fail", "because", 5, 0.25)


def test_what_cannot_be_tested(case) -> None:
    assert untestable(case()) is None
    compared = {"test": "noninferior", "at_least": None, "margin": 0.1}
    assert untestable(case(baseline=True, **compared)) is None
    for keys, reason in (
        ({"metric": "f1"}, "no such metric; it has exact"),
        ({"tag": "nowhere"}, "no sample has the tag 'nowhere'"),
        (compared, "no baseline"),
    ):
        found = untestable(case(**keys))
        assert found is not None
        assert (found.result.verdict, reason in found.result.reason) == ("invalid", True)


def test_too_few_samples_or_clusters(case) -> None:
    assert too_few(case(n_min=10), 10, 2) is None
    assert "9 samples, the condition asks for 10" in (too_few(case(n_min=10), 9, 9) or "")
    assert "1 clusters, the gate asks for 2" in (too_few(case(), 10, 1) or "")


def test_long_lists_of_ids_are_cut_and_counted() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some((str(i) for i in range(12)), most=3) == "0, 1, 2 and 9 more"
