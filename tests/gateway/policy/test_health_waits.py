"""When asking again may help."""

import pytest

from gateway.policy.health import retry_after
from tests.gateway.policy.test_health_vitals import Replica, asleep, broken, down, draining, well


def busy(in_flight: int, seconds: float) -> Replica:
    """One whose requests take so long."""
    made = well(in_flight=in_flight)
    made.vitals.answered(0.0, seconds)
    return made


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        ([well()], 1),
        ([busy(4, 60.0)], 15),
        ([busy(4, 60.0), busy(4, 60.0)], 8),
        ([busy(256, 30.0)], 1),
        ([busy(1, 10_000.0)], 60),
        ([busy(0, 20.0)], 20),
        ([down(), asleep()], 7),
        ([draining()], 60),
        ([draining(), busy(2, 60.0)], 30),
        ([down(), busy(1, 3.0)], 3),
    ],
)
def test_retry_after_is_the_soonest_that_something_changes(replicas: list[Replica], expected: int) -> None:
    assert retry_after(replicas, 0.0) == expected


def test_retry_after_of_open_breakers_is_the_soonest_trial() -> None:
    one, other = broken(), broken(5.0)
    one.vitals.breaker.open_until, other.vitals.breaker.open_until = 20.5, 13.5
    assert retry_after([one, other], 10.0) == 4
    assert retry_after([one, other], 30.0) == 1
