import pytest

from evals.report import spreads


def test_quantiles_are_measured_values_and_every_answer_is_in_a_bin(make_evidence) -> None:
    latency, cost, tokens = spreads.quantities({"candidate": make_evidence({f"s{i}": 1.0 for i in range(10)})})
    (spread,) = latency.spreads
    assert (latency.name, spread.count, sum(spread.counts)) == ("Latency", 10, 10)
    assert spread.quantiles == {"p50": 0.1, "p95": 0.1, "p99": 0.1, "max": 0.1}
    assert cost.spreads[0].mean == pytest.approx(0.001)
    assert tokens.spreads[0].quantiles["p99"] == 5


def test_answers_from_the_cache_are_left_out_where_they_are_free(make_evidence, retold) -> None:
    fresh, cached = make_evidence({"a": 1.0, "b": 1.0}, release="faq@1"), make_evidence({"a": 1.0, "b": 1.0})
    found = spreads.quantities({"baseline": fresh, "candidate": retold(cached, cached=True)})
    by_name = {quantity.name: [spread.arm for spread in quantity.spreads] for quantity in found}
    assert by_name == {
        "Latency": ["baseline"],
        "Cost of an answer": ["baseline"],
        "Output tokens": ["baseline", "candidate"],
    }


def test_what_no_answer_carries_is_not_there(make_evidence, retold) -> None:
    run = retold(make_evidence({"a": 1.0}), cost=None, output_tokens=None)
    assert [quantity.name for quantity in spreads.quantities({"candidate": run})] == ["Latency"]
    assert spreads.quantities({"candidate": make_evidence({"a": "missing"})}) == ()


def test_arms_share_bins_and_far_values_are_in_the_last(make_evidence, retold) -> None:
    slow = retold(make_evidence({f"s{i}": 1.0 for i in range(200)}), latency_s=1.0)
    unit = slow.units["s0"]
    record = unit.records[0]
    far = type(record.answer)(latency_s=500.0)
    slow.units["s0"] = type(unit)(
        unit.id, unit.cluster, unit.tags, (type(record)(id="s0", digest="", outcome="scored", answer=far),), 1
    )
    fast = make_evidence({f"s{i}": 1.0 for i in range(200)}, release="faq@1")
    latency = spreads.quantities({"baseline": fast, "candidate": slow})[0]
    assert latency.start + latency.width * (spreads.BINS - 1) == pytest.approx(1.0)
    assert latency.spreads[1].counts[-1] == 200
    assert latency.spreads[0].counts[3] == 200
    assert latency.spreads[1].quantiles["max"] == 500.0


def test_figures_that_nobody_can_have_measured_are_unknown(make_evidence, retold) -> None:
    run = retold(make_evidence({f"s{i}": 1.0 for i in range(3)}), latency_s=1e308, cost="1e999999")
    assert [quantity.name for quantity in spreads.quantities({"candidate": run})] == ["Output tokens"]
