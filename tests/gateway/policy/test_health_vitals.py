"""Who may be tried, and with which weight."""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.health import COLD_WEIGHT, FIRST_S, LIMIT, Vitals, away, candidates, retry_after
from gateway.settings.health import Health

SETTINGS = Health(period=7, failures=2, slow_start=10)


@dataclass
class Replica:
    """As much of one as decisions see."""

    name: str = "r"
    in_flight: int = 0
    vitals: Vitals = field(default_factory=lambda: Vitals(SETTINGS))


def well(**changes: int) -> Replica:
    """One that a probe has found up, at the gateway's start."""
    made = Replica(**changes)  # type: ignore[arg-type]
    made.vitals.probed(0.0, asleep=False)
    return made


def asleep() -> Replica:
    made = well()
    made.vitals.probed(0.0, asleep=True)
    return made


def draining() -> Replica:
    return Replica(vitals=Vitals(SETTINGS, draining=True))


def down() -> Replica:
    made = well()
    for _ in range(SETTINGS.failures):
        made.vitals.missed()
    return made


def broken(now: float = 0.0) -> Replica:
    made = well()
    for _ in range(LIMIT):
        made.vitals.failed(now)
    return made


def positions(*replicas: Replica, now: float = 0.0) -> list[int]:
    return list(candidates(replicas, now)[0])


def weights(*replicas: Replica, now: float) -> list[float]:
    return list(candidates(replicas, now)[1])


def test_all_that_are_well_may_be_tried_with_their_full_share() -> None:
    assert candidates([well(), Replica(), well()], 0.0) == (range(3), ())


def test_before_the_first_probe_a_replica_counts_as_up() -> None:
    assert not Vitals().known
    assert candidates([Replica()], 0.0) == (range(1), ())


def test_one_that_is_down_broken_asleep_or_draining_is_left_out() -> None:
    assert positions(down(), broken(), asleep(), draining(), well()) == [4]


def test_a_due_trial_stands_beside_those_that_are_well_with_a_full_weight() -> None:
    trial = broken()
    assert positions(trial, well(), now=FIRST_S) == [0, 1]
    assert weights(trial, well(), now=FIRST_S) == [1.0, 1.0]
    trial.vitals.breaker.begin()
    assert positions(trial, well(), now=FIRST_S) == [1]


def test_a_guess_is_better_than_a_certain_failure_but_not_on_one_that_sleeps_or_drains() -> None:
    poor = [down(), asleep(), broken(), draining()]
    assert positions(*poor) == [0, 2]
    assert candidates(poor, 0.0, guess=False) == ([], [])
    assert candidates([*poor, well()], 0.0, guess=False) == ([4], [1.0])


def test_there_may_be_none() -> None:
    assert positions(asleep(), draining()) == []
    assert positions() == []
    asked = [asleep(), draining(), down(), broken()]
    for each, name in zip(asked, "abcd", strict=True):
        each.name = name
    error = away(asked, 0.0)
    assert str(error) == "no replica takes requests: 'a' is asleep, 'b' is draining, 'c' is down, 'd' is failing"
    assert error.retry_after == retry_after(asked, 0.0)


def test_failed_probes_in_a_row_make_it_down_and_one_success_up() -> None:
    vitals = well().vitals
    vitals.missed()
    vitals.probed(1.0, asleep=False)
    vitals.missed()
    assert vitals.up
    vitals.missed()
    assert (vitals.up, vitals.known) == (False, True)
    vitals.probed(2.0, asleep=False)
    assert vitals.up


def test_while_real_traffic_is_answered_a_late_probe_makes_nothing_down() -> None:
    vitals = well().vitals
    for _ in range(10):
        vitals.missed()
        vitals.answered(0.0, 1.0)
    assert vitals.up


def test_only_a_probe_ends_being_down() -> None:
    vitals = down().vitals
    vitals.answered(0.0, 1.0)
    assert not vitals.up
    vitals.missed()
    assert not vitals.up


def test_a_probe_closes_no_breaker() -> None:
    replica = broken()
    replica.vitals.probed(0.5, asleep=False)
    assert not replica.vitals.breaker.closed
    assert positions(replica, well(), now=0.5) == [1]


def test_what_an_engine_does_not_say_of_its_sleep_changes_nothing() -> None:
    vitals = asleep().vitals
    vitals.probed(1.0, asleep=None)
    assert vitals.asleep
    vitals.probed(1.0, asleep=False)
    vitals.probed(1.0, asleep=None)
    assert not vitals.asleep


def test_each_arrival_is_counted_and_the_start_is_one() -> None:
    vitals = Vitals(SETTINGS)
    assert vitals.arrivals == 0
    for _ in range(3):
        vitals.probed(0.0, asleep=False)
    assert vitals.arrivals == 1
    vitals.missed()
    vitals.missed()
    vitals.probed(0.0, asleep=False)
    assert vitals.arrivals == 2


def came_back_up() -> Replica:
    made = down()
    made.vitals.probed(100.0, asleep=False)
    return made


def woke() -> Replica:
    made = asleep()
    made.vitals.probed(100.0, asleep=False)
    return made


def recovered() -> Replica:
    made = broken(90.0)
    made.vitals.succeeded(100.0)
    return made


def taken_back() -> Replica:
    made = draining()
    made.vitals.drain(False, 100.0)
    return made


def added() -> Replica:
    made = Replica()
    made.vitals.warm_up(100.0)
    return made


RETURNS = (came_back_up, woke, recovered, taken_back, added)


@pytest.mark.parametrize("made", RETURNS)
def test_one_that_comes_back_starts_slowly(made: object) -> None:
    replica = made()  # type: ignore[operator]
    assert weights(replica, well(), now=100.0) == [COLD_WEIGHT, 1.0]
    assert weights(replica, well(), now=105.0) == pytest.approx([0.55, 1.0])
    assert candidates([replica, well()], 110.0) == (range(2), ())


def test_probes_that_go_on_do_not_start_it_again() -> None:
    replica = came_back_up()
    replica.vitals.probed(109.0, asleep=False)
    assert candidates([replica], 110.0) == (range(1), ())


def test_slow_start_can_be_switched_off() -> None:
    vitals = Vitals(Health(slow_start=0))
    vitals.warm_up(100.0)
    assert vitals.weight(100.0) == 1.0


@given(st.sampled_from(RETURNS), st.lists(st.floats(100, 200), min_size=2, max_size=20))
def test_weights_are_within_bounds_and_grow(made: object, moments: list[float]) -> None:
    vitals = made().vitals  # type: ignore[operator]
    found = [vitals.weight(moment) for moment in sorted(moments)]
    assert found == sorted(found)
    assert all(COLD_WEIGHT <= weight <= 1.0 for weight in found)


EVENTS = ("up", "sleeps", "wakes", "missed", "drain", "take", "ok", "bad", "begin", "end", "answered")


def strike(vitals: Vitals, event: str, now: float) -> None:
    """One thing that may happen to a replica."""
    {
        "up": lambda: vitals.probed(now, asleep=None),
        "sleeps": lambda: vitals.probed(now, asleep=True),
        "wakes": lambda: vitals.probed(now, asleep=False),
        "missed": vitals.missed,
        "drain": lambda: vitals.drain(True, now),
        "take": lambda: vitals.drain(False, now),
        "ok": lambda: vitals.succeeded(now),
        "bad": lambda: vitals.failed(now),
        "begin": vitals.breaker.begin,
        "end": vitals.breaker.ended,
        "answered": lambda: vitals.answered(now, now),
    }[event]()


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(EVENTS), st.floats(0, 5)), max_size=60))
def test_whatever_happens_sleepers_and_drainers_are_never_tried_and_no_one_else_is_lost(
    events: list[tuple[int, str, float]],
) -> None:
    replicas, now = [Replica() for _ in range(3)], 0.0
    for at, event, passed in events:
        now += passed
        strike(replicas[at].vitals, event, now)
        chosen, found = candidates(replicas, now)
        assert all(replicas[position].vitals.accepts for position in chosen)
        assert bool(chosen) == any(replica.vitals.accepts for replica in replicas)
        assert len(found) in (0, len(chosen))
        assert all(COLD_WEIGHT <= weight <= 1.0 for weight in found)
        best = [replica.vitals for replica in replicas if replica.vitals.accepts]
        if any(vitals.up and vitals.breaker.closed for vitals in best):
            assert all(replicas[position].vitals.up for position in chosen)
        assert 1 <= retry_after(replicas, now) <= 60


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=50))
def test_the_average_stays_between_what_was_seen(durations: list[float]) -> None:
    vitals = Vitals()
    for duration in durations:
        vitals.answered(0.0, duration)
    mean = vitals.request_s
    assert mean is not None
    assert min(durations) <= mean * (1 + 1e-9)
    assert mean <= max(durations) * (1 + 1e-9)
    assert math.isfinite(mean)


@given(
    st.floats(0, 60),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.floats(0, 20)), max_size=40),
    st.lists(st.floats(0, 400), min_size=1, max_size=5),
)
def test_it_has_its_full_share_from_the_moment_that_is_kept_for_it(
    slow_start: float, events: list[tuple[str, float]], moments: list[float]
) -> None:
    """What every request asks is kept, and true after whatever happened: the weight says the same, reckoned anew."""
    vitals, now = Vitals(Health(slow_start=slow_start)), 0.0
    for event, passed in events:
        now += passed
        strike(vitals, event, now)
        assert vitals.whole_from == max(vitals.returned_at, vitals.breaker.recovered_at) + slow_start
        for moment in moments:
            if now + moment >= vitals.whole_from:
                assert vitals.weight(now + moment) == 1.0
