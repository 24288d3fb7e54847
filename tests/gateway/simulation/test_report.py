"""What a replay shows, on replays whose numbers can be worked out by hand."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.profile import H100X2
from gateway.settings.queue import QueueConfig
from gateway.simulation.fleet import QUEUE_FULL, QUEUE_TIMEOUT, TOO_LONG, Load, Replay, Served, Setup, replay
from gateway.simulation.report import METRICS, Line, flat, jain, mean, quantile, services, summary
from gateway.simulation.traces import Arrival
from gateway.simulation.workloads import llm_d


def served(at: float, first: float, end: float, **fields: Any) -> Served:
    """A request of 100 tokens in and 11 out that was routed at once."""
    given = {"tenant": "one", "weight": 1.0, "routed_at": at, "cached": 0, **fields}
    arrival = Arrival(at, 100, 11, tenant=given.pop("tenant"), weight=given.pop("weight"))
    return Served(arrival, replica=0, started_at=given["routed_at"], first_at=first, finished_at=end, **given)


def load(work: float, busy: float = 1.0) -> Load:
    """One replica's."""
    return Load(busy_s=busy, work_s=work, prefilled=0, decoded=0, steps=0, preemptions=1)


def made(seen: Sequence[Served], loads: Sequence[Load] = (load(1.0),)) -> Replay:
    """A replay of one replica of two GPUs, where tokens weigh 1, 0.5 and 2."""
    return Replay(Setup(H100X2, len(loads), queue=QueueConfig(input=1, cached=0.5, output=2)), seen, loads)


def test_times_are_those_of_the_requests_that_completed() -> None:
    lost = Served(Arrival(5.0, 100, 11, tenant="one"), QUEUE_FULL)
    found = summary(made([served(0.0, 1.0, 2.0), served(1.0, 4.0, 6.0, routed_at=2.0), lost]))
    assert (found.requests, found.completed, found.refused, found.preemptions) == (3, 2, 1, 1)
    assert found.ttft_mean == pytest.approx(2.0)
    assert (found.ttft_p50, found.ttft_p90) == pytest.approx((2.0, 2.8))
    assert found.itl_mean == pytest.approx(0.15)
    assert found.queue_mean == pytest.approx(0.5)
    assert found.seconds == 6.0
    assert found.output_tokens_s == pytest.approx(22 / 6)
    assert found.requests_s == pytest.approx(2 / 6)


def test_what_was_not_answered_is_told_apart() -> None:
    arrival = Arrival(0.0, 100, 11)
    found = summary(
        made([Served(arrival, outcome) for outcome in (QUEUE_FULL, QUEUE_TIMEOUT, QUEUE_TIMEOUT, TOO_LONG)])
    )
    assert (found.refused, found.expired, found.too_long, found.completed) == (1, 2, 1, 0)
    assert found.ttft_p50 is found.cached_share is found.cost is found.requests_s is None


def test_the_cached_share_is_of_the_prompt_tokens() -> None:
    assert summary(made([served(0, 1, 2, cached=80), served(0, 1, 2)])).cached_share == pytest.approx(0.4)


def test_balance_is_the_busiest_replica_against_the_mean() -> None:
    found = summary(made([served(0, 1, 2)], [load(3.0), load(1.0)]))
    assert found.balance == pytest.approx(1.5)
    assert found.busy == pytest.approx(0.5)


def test_the_cost_is_of_every_gpu_for_all_of_the_time() -> None:
    found = summary(made([served(0, 1, 1800.0)], [load(1.0)] * 3), Decimal("2.50"))
    assert found.cost == Decimal("7.500000")  # 3 replicas of 2 GPUs for half an hour
    assert found.cost_per_million == (Decimal("7.5") * 1_000_000 / 111).quantize(Decimal("0.000001"))


def test_the_price_of_a_million_tokens_is_of_the_cost_as_it_is() -> None:
    """A request of 63 ms costs 88 millionths: rounded first, a million of its tokens cost too much."""
    found = summary(made([served(0.0, 0.05, 0.0632)]), Decimal("2.50"))
    assert found.cost == Decimal("0.000088")
    assert found.cost_per_million == Decimal("0.790791")  # 2 GPUs · 2.50 · 0.0632 s / 3600 s, of 111 tokens


def test_service_is_counted_while_it_is_given() -> None:
    seen = [served(0.0, 2.0, 12.0, cached=40), served(20.0, 21.0, 22.0, tenant="two", weight=2.0)]
    assert services(made(seen), 0.0, 30.0) == pytest.approx({"one": 60 + 20 + 22, "two": (100 + 22) / 2})
    assert services(made(seen), 0.0, 30.0, weighted=False)["two"] == pytest.approx(122)
    assert services(made(seen), 7.0, 30.0)["one"] == pytest.approx(11)
    assert services(made(seen), 0.0, 7.0) == pytest.approx({"one": 80 + 11, "two": 0})


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 20), st.floats(0, 20)), min_size=1, max_size=10), st.floats(0, 90)
)
def test_what_two_windows_were_served_is_what_both_were(times: list[tuple[float, float, float]], cut: float) -> None:
    found = made([served(at, at + first, at + first + rest) for at, first, rest in times])
    before, after, whole = (services(found, *window)["one"] for window in ((0.0, cut), (cut, 91.0), (0.0, 91.0)))
    assert before + after == pytest.approx(whole)


def test_tenants_are_compared_by_their_weights() -> None:
    seen = [served(0, 1, 2), served(1, 2, 3, tenant="two", weight=2.0), served(9, 10, 11)]
    found = summary(made(seen))
    assert found.service == pytest.approx({"one": 122, "two": 61})
    assert found.service_ratio == pytest.approx(2.0)
    assert found.jain == pytest.approx(183**2 / (2 * (122**2 + 61**2)))
    assert summary(made([served(0, 1, 2)])).jain is None


def test_jains_index_is_one_for_equals_and_its_least_for_one_that_has_all() -> None:
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([9.0, 0.0, 0.0]) == pytest.approx(1 / 3)
    assert jain([0.0, 0.0]) is None


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=40), st.floats(0, 1))
def test_quantiles_are_numpys(values: list[float], part: float) -> None:
    assert quantile(sorted(values), part) == pytest.approx(float(numpy.quantile(values, part)))


def test_nothing_has_no_quantile_and_no_mean() -> None:
    assert quantile([], 0.5) is mean([]) is None


def test_a_line_has_the_mean_and_the_ends_of_its_seeds() -> None:
    one, two = (summary(made([served(0, first, 9.0)]), Decimal(1)) for first in (1.0, 3.0))
    line = Line("score", 1, [one, two])
    assert line.values()["ttft_p50"] == {"mean": 2.0, "min": 1.0, "max": 3.0}
    assert line.values()["cost"] == {"mean": "0.005000", "min": "0.005000", "max": "0.005000"}
    rows = flat([line])
    assert [each["metric"] for each in rows] == list(METRICS)
    assert rows[METRICS.index("ttft_p50")] == {
        "policy": "score", "replicas": 1, "seeds": 2, "metric": "ttft_p50", "mean": 2.0, "min": 1.0, "max": 3.0
    }  # fmt: skip


def test_a_metric_that_one_seed_lacks_is_none_and_not_the_mean_of_the_others() -> None:
    lacking = summary(made([Served(Arrival(0.0, 100, 11), QUEUE_FULL)]))
    line = Line("score", 1, [summary(made([served(0, 1, 2)])), lacking])
    assert line.values()["ttft_p50"] == {"mean": None, "min": None, "max": None}


def test_a_real_replay_adds_up() -> None:
    found = summary(replay(llm_d(Random(1), 20.0, 20.0), Setup(H100X2, 2), Random(1)), Decimal("2.50"))
    assert found.completed == found.requests
    assert found.ttft_p50 is not None
    assert found.ttft_p99 is not None
    assert 0 < found.ttft_p50 <= found.ttft_p99
    assert found.service == {}
    assert found.service_ratio is not None
