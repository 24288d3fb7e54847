"""Many observations at once are the same as one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Theirs

from gateway.histograms import Histogram

BUCKETS = (0.1, 0.5, 1.0)
AMOUNTS = st.one_of(st.floats(0.0, 2.0), st.sampled_from([0.0, *BUCKETS, 1e9]))


def _samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    families = registry.collect()
    return {
        (each.name, each.labels.get("le", "")): each.value
        for family in families
        for each in family.samples
        if not each.name.endswith("_created")
    }


@given(st.lists(st.lists(AMOUNTS, max_size=30), max_size=4))
def test_many_at_once_are_counted_as_one_by_one(rounds: list[list[float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    many = Histogram("h", "text", ["model"], buckets=BUCKETS, registry=ours).labels("m")
    single = Theirs("h", "text", ["model"], buckets=BUCKETS, registry=theirs).labels("m")
    for amounts in rounds:
        many.observe_all(amounts)
        for each in amounts:
            single.observe(each)
    assert _samples(ours) == pytest.approx(_samples(theirs))
