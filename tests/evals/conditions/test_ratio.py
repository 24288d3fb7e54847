import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FLOOR = {"metric": "exact", "test": "absolute", "at_least": 0.01}
IDS = [f"s{i:03}" for i in range(200)]


def scores(**special: object) -> dict[str, object]:
    return dict.fromkeys(IDS, 1.0) | special


def spread(seed: int, factor: float = 1.0) -> dict[str, dict[str, object]]:
    """Latencies, costs and tokens with a long tail; the two runs share what makes a question long."""
    shared, own = random.Random(1), random.Random(seed)
    found = {}
    for key in IDS:
        size = shared.lognormvariate(0, 0.8) * own.lognormvariate(0, 0.1) * factor
        found[key] = {"latency_s": size, "cost": f"{size / 1000:.9f}", "output_tokens": round(100 * size) + 1}
    return found


def condition(metric: str, most: float = 1.1, **more: object) -> dict[str, object]:
    return {"metric": metric, "owner": "sre", "test": "ratio", "max_ratio": most} | more


@pytest.fixture
def judged(make_evidence, make_gate, took, ask):
    def judge(asked, factor=1.0, special=None, theirs=None, baseline=None, **options):
        candidate = took(make_evidence(scores(**(special or {})), **options), spread(2, factor))
        live = make_evidence(scores(), release="faq@1", **options | (baseline or {}))
        live = took(took(live, spread(3)), theirs)
        return ask(make_gate(candidate, FLOOR, asked), candidate, live)

    return judge


@pytest.mark.parametrize("metric", ["latency_mean", "latency_p50", "latency_p95", "cost_mean", "output_tokens_mean"])
def test_a_ratio_passes_fails_or_stays_open(judged, metric: str) -> None:
    most = 1.3 if metric == "latency_p95" else 1.1
    for factor, expected in ((1.0, "pass"), (2.0, "fail"), (most, "inconclusive")):
        decision = judged(condition(metric, most), factor)
        result = decision.metrics[1]
        assert (decision.answer, result.metric, result.owner) == (expected, metric, "sre")
        assert result.lower < result.estimate < result.upper
        assert result.estimate == pytest.approx(factor, rel=0.2)
        assert (result.samples, result.clusters, result.max_ratio) == (200, 200, most)
        assert result.candidate_score / result.baseline_score == pytest.approx(result.estimate)


def test_the_same_runs_give_the_same_bounds(judged) -> None:
    one, two = (judged(condition("cost_mean")).metrics[1] for _ in range(2))
    assert (one.lower, one.upper) == (two.lower, two.upper)


def test_cost_for_each_passing_sample_rises_when_samples_fail(judged) -> None:
    asked = condition("cost_per_ok", 1.3, of="exact")
    assert judged(asked).answer == "pass"
    decision = judged(asked, special=dict.fromkeys(IDS[::2], 0.0))
    assert decision.answer == "fail"
    assert decision.metrics[1].estimate == pytest.approx(2.0, rel=0.1)
    nothing = judged(asked, special=dict.fromkeys(IDS, 0.0)).metrics[1]
    assert (nothing.verdict, nothing.estimate) == ("fail", None)
    assert nothing.reason.startswith("infinite against ")


def test_a_ratio_to_nothing_is_inconclusive(judged) -> None:
    free = {key: {"cost": "0"} for key in IDS}
    decision = judged(condition("cost_mean"), theirs=free)
    assert (decision.metrics[1].verdict, "there is no ratio to it" in decision.reason) == ("inconclusive", True)


def test_answers_of_a_cache_are_no_evidence(judged, make_evidence, make_gate, took, ask) -> None:
    candidate = took(make_evidence(scores()), spread(2) | {"s000": {"cached": True, "cost": None, "latency_s": 0.0}})
    baseline = took(make_evidence(scores(), release="faq@1"), spread(3))
    gate = make_gate(candidate, FLOOR, condition("latency_p50"), cached="allow")
    decision = ask(gate, candidate, baseline)
    assert decision.answer == "invalid"
    assert "1 answers come out of a cache" in decision.reason


def test_a_gateway_without_prices_is_invalid(judged) -> None:
    bare = {key: {"cost": None} for key in IDS}
    decision = judged(condition("cost_mean"), theirs=bare)
    assert decision.answer == "invalid"
    assert "no answer carries what cost_mean is made of" in decision.reason


def test_runs_of_another_concurrency_have_other_latencies(judged) -> None:
    decision = judged(condition("latency_p50"), concurrency=8, baseline={"concurrency": 64})
    assert decision.answer == "invalid"
    assert "64 and 8 requests under way" in decision.reason
    assert judged(condition("cost_mean"), concurrency=8, baseline={"concurrency": 64}).answer == "pass"


@pytest.mark.parametrize("lost", ["missing", "system"])
def test_a_lost_answer_leaves_a_mean_open_and_costs_a_quantile_little(judged, lost: str) -> None:
    decision = judged(condition("latency_mean"), special={"s000": lost})
    assert decision.answer == "inconclusive"
    assert "a mean has no worst value" in decision.reason
    assert judged(condition("latency_p50"), special={"s000": lost}).answer == "pass"


def test_many_lost_answers_are_no_fast_answers(judged) -> None:
    many = dict.fromkeys(IDS[:40], "missing")
    result = judged(condition("latency_p95", 2.0), special=many).metrics[1]
    assert (result.verdict, result.upper) == ("inconclusive", None)
    result = judged(condition("latency_p95", 2.0), special=dict.fromkeys(IDS[:40], "system")).metrics[1]
    assert (result.verdict, result.estimate) == ("fail", None)


def test_what_the_baseline_failed_is_left_out_and_told(make_evidence, make_gate, took, ask) -> None:
    candidate = took(make_evidence(scores(s000="system")), spread(2))
    baseline = took(make_evidence(scores(s000="system", s001="system"), release="faq@1"), spread(3))
    decision = ask(make_gate(candidate, FLOOR, condition("latency_mean")), candidate, baseline)
    assert decision.answer == "pass"
    result = decision.metrics[1]
    assert (result.samples, "2 samples are left out" in result.reason) == (198, True)


def test_equal_answers_pass_and_few_clusters_do_not(judged, make_evidence, make_gate, took, ask) -> None:
    candidate, baseline = make_evidence(scores()), make_evidence(scores(), release="faq@1")
    gate = make_gate(candidate, FLOOR, condition("output_tokens_mean"))
    assert ask(gate, candidate, baseline).answer == "pass"
    clusters = {key: f"c{i % 5}" for i, key in enumerate(IDS)}
    candidate = make_evidence(scores(), clusters=clusters)
    baseline = make_evidence(scores(), release="faq@1", clusters=clusters)
    decision = ask(make_gate(candidate, FLOOR, condition("latency_p95")), candidate, baseline)
    assert decision.answer == "inconclusive"
    assert "5 clusters: a bound on latency_p95 takes at least 59" in decision.reason


def test_a_slice_of_a_quantity(judged) -> None:
    decision = judged(condition("latency_p50", 1.2, tag="plans"), tags={key: ["plans"] for key in IDS[:100]})
    assert (decision.metrics[1].metric, decision.metrics[1].samples) == ("latency_p50[plans]", 100)


ORDER = ["pass", "inconclusive", "fail", "invalid"]


@given(
    st.sampled_from(["latency_p50", "latency_mean", "cost_mean", "cost_per_ok", "output_tokens_mean"]),
    st.lists(st.tuples(st.sampled_from([1.0, 0.0, "system", "missing"]), st.floats(0.1, 3)), min_size=6, max_size=14),
    st.data(),
)
@settings(deadline=None, max_examples=60)
def test_law_no_lost_answer_makes_a_ratio_pass(make_evidence, make_gate, took, ask, metric, rows, data) -> None:
    of = {"of": "exact"} if metric == "cost_per_ok" else {}

    def judge(rows):
        figures = {
            f"s{i}": {"latency_s": v, "cost": f"{v:.6f}", "output_tokens": int(9 * v)} for i, (_, v) in enumerate(rows)
        }
        run = took(make_evidence({f"s{i}": kind for i, (kind, _) in enumerate(rows)}), figures)
        base = took(make_evidence({f"s{i}": 1.0 for i in range(len(rows))}, release="faq@1"), latency_s=1.0, cost="1")
        return ask(make_gate(run, FLOOR, condition(metric, 1.2, **of)), run, base).metrics[1]

    position = data.draw(st.integers(0, len(rows) - 1))
    lost = [*rows[:position], ("missing", rows[position][1]), *rows[position + 1 :]]
    before, after = judge(rows), judge(lost)
    assert not (after.verdict == "pass" and before.verdict != "pass")
    if metric in ("latency_p50", "latency_mean"):
        failed = judge([*rows[:position], ("system", rows[position][1]), *rows[position + 1 :]])
        assert not (failed.verdict == "pass" and before.verdict != "pass")
