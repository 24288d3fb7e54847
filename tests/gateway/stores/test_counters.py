"""Snapshots of the engines' counters, and the ledger's sums between two of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.costs.rows import TOOK_PART
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.counters import LOOKED_AT, Snapshot, Sums, Told
from tests.gateway.builders import settled

ONE = Snapshot("r1", 100.0, 1.0, 10, 2, 5)
WORKED = {"replica": "r1", "dispatched_s": 0.0}


@pytest.fixture
def stores(url: str, tmp_path: Path) -> Iterator[Stores]:
    made = open_stores(url, tmp_path / "spool")
    yield made
    made.database.dispose()


def sums(stores: Stores, since: float = 100.0, until: float = 200.0, replica: str = "r1") -> Sums:
    return stores.counters.sums(replica, since, until, slack_s=1.0, longest_s=3600.0, worked=TOOK_PART)


def row(request_id: str, started_at: float, duration_s: float = 1.0, **changes: Any) -> Any:
    return settled(request_id, **{"started_at": started_at, "duration_s": duration_s, **WORKED, **changes})


def test_snapshots_come_back_by_replica_and_time(stores: Stores) -> None:
    made = [replace(ONE, at=160.0), replace(ONE, replica="r0", at=130.0, cached_tokens=None), ONE]
    for snapshot in made:
        assert stores.counters.add(snapshot, 30.0)
    assert stores.counters.snapshots(None, None) == [made[1], ONE, made[0]]
    assert stores.counters.snapshots(100.0, 130.0) == [made[1], ONE]
    assert stores.counters.snapshots(101.0, None, "r1") == [made[0]]


def test_of_many_workers_one_writes(stores: Stores) -> None:
    assert stores.counters.add(ONE, 30.0)
    assert not stores.counters.add(replace(ONE, at=129.9), 30.0)
    assert stores.counters.add(replace(ONE, at=129.9, replica="r2"), 30.0)
    assert stores.counters.add(replace(ONE, at=130.0), 30.0)
    assert stores.counters.add(replace(ONE, at=132.0), 1.0), "the last one of a gateway that stops"


def test_rows_are_between_two_moments_or_reach_over_one(stores: Stores) -> None:
    stores.ledger.insert(
        [
            row("before", 90.0, 8.0),
            row("reaches in", 90.0, 20.0, input_tokens=10, output_tokens=1),
            row("at the edge", 100.5, 1.0, input_tokens=100, output_tokens=2),
            row("within", 110.0, 50.0, input_tokens=1000, output_tokens=3),
            row("ends at the edge", 190.0, 9.5, input_tokens=10_000, output_tokens=4),
            row("reaches out", 190.0, 60.0, input_tokens=100_000, output_tokens=5),
            row("after", 202.0, 1.0),
            row("elsewhere", 110.0, 50.0, replica="r2"),
            row("of nobody", 110.0, 1.0, replica=None, input_tokens=None, output_tokens=None, outcome="queue_full"),
        ]
    )
    assert sums(stores) == Sums(1000, 3, 110_110, 12, 5, 0)
    assert sums(stores, replica="r2") == Sums(3, 2, 0, 0, 1, 0)
    assert sums(stores, replica="r3") == Sums()


@pytest.mark.parametrize(
    ("changes", "unmetered"),
    [
        ({"outcome": "client_closed"}, 1),
        ({"outcome": "upstream_failed"}, 1),
        ({"outcome": "invalid_request"}, 0),
        ({"outcome": "upstream_overloaded"}, 0),
        ({"outcome": "gateway_lost", "replica": None}, 1),
    ],
)
def test_a_request_that_an_engine_may_have_worked_for_unheard_is_unmetered(
    changes: dict[str, Any], unmetered: int, stores: Stores
) -> None:
    stores.ledger.insert([row("a", 110.0, **{"input_tokens": None, "output_tokens": None, **changes})])
    assert sums(stores).unmetered == unmetered


def test_so_is_an_attempt_that_failed(stores: Stores) -> None:
    stores.ledger.insert([row("a", 110.0, replica="r2", tries='[["r1",0.1,0.2]]'), row("b", 110.0, replica="r2")])
    assert sums(stores) == Sums(unmetered=1)
    assert sums(stores, replica="r") == Sums(), "the name of a replica is all of it"


def test_a_prompt_counts_once_for_each_choice_as_engines_count_it(stores: Stores) -> None:
    stores.ledger.insert(
        [
            row("one", 110.0, input_tokens=10, output_tokens=1),
            row("three", 110.0, input_tokens=10, output_tokens=9, choices=3),
            row("reaches out", 190.0, 60.0, input_tokens=100, output_tokens=5, choices=2),
        ]
    )
    assert sums(stores) == Sums(40, 10, 200, 5, 3, 0)


def test_what_engines_tell_is_known_from_their_latest_answers(stores: Stores) -> None:
    more = {"started_at": 50.0, "endpoint": "/v1/chat/completions"}
    stores.ledger.insert(
        [
            settled("a", **more, replica="all", engine_prefill_s=0.1, cached_tokens=0),
            settled("b", **more, replica="none"),
            settled("c", **more, replica="embeds", output_tokens=0),
            settled("d", **{**more, "endpoint": "/v1/messages"}, replica="elsewhere"),
            settled("e", **{**more, "started_at": 5.0}, replica="late", cached_tokens=1),
            *(settled(f"n{n}", **more, replica="mixed") for n in range(LOOKED_AT - 1)),
            settled("m", **more, replica="mixed", cached_tokens=3),
        ]
    )
    wanted = ["all", "none", "embeds", "elsewhere", "late", "mixed"]
    assert stores.counters.told(wanted, 10.0) == {
        "all": Told(times=True, cached=True),
        "none": Told(times=False, cached=False),
        "embeds": Told(),
        "elsewhere": Told(),
        "late": Told(),
        "mixed": Told(times=False, cached=True),
    }
