"""The seam: what reaches an engine has every part that the relay asks for."""

import inspect

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.health import Vitals
from gateway.upstreams.base import Answer, Counted, Upstream
from gateway.upstreams.vllm import Replica
from tests.engine.simulator import Engine


def _methods(shape: type) -> dict[str, inspect.Signature]:
    found = inspect.getmembers(shape, inspect.isfunction)
    return {name: inspect.signature(each) for name, each in found if name in vars(shape) and name != "__init__"}


async def test_a_replica_and_its_connections_have_the_shape() -> None:
    async with Engine() as engine:
        replica = Replica("one", engine.url, api_key=None, connect_s=5.0)
        connection = replica.pool.take()
        for part, shape in ((replica, Upstream), (connection, Answer)):
            fields = [name for name in shape.__annotations__ if not hasattr(part, name)]
            assert not fields
            for name, expected in _methods(shape).items():
                if not name.startswith("_"):
                    assert list(inspect.signature(getattr(part, name)).parameters) == [*expected.parameters][1:]
        replica.end(connection)
        replica.close()


@given(st.lists(st.sampled_from(["begins", "ends", "fails", "succeeds"]), max_size=40))
def test_a_breaker_hears_of_every_request_that_can_matter_to_it(events: list[str]) -> None:
    """Where it is not told of one, telling it would have changed nothing."""
    counted, told = Counted("one", (), Vitals()), Vitals().breaker
    for now, event in enumerate(events):
        if event == "begins":
            counted.__enter__()
            told.begin()
        elif event == "ends" and counted.in_flight:
            counted.__exit__()
            told.ended()
        elif event == "fails":
            counted.vitals.failed(now)
            told.failed(now)
        elif event == "succeeds":
            counted.vitals.succeeded(now)
            told.succeeded(now)
        assert counted.breaker == told


def test_what_a_former_one_has_in_flight_takes_room_until_it_has_ended() -> None:
    first, second, third = (Counted(name, (), Vitals()) for name in "abc")
    heard = list[int]()
    with first:
        second.follow(first)
        with second:
            third.follow(second)
            third.freed = lambda: heard.append(third.before)
            with first, third:  # whoever began before the reload may still go to the former one
                assert (first.in_flight, second.in_flight, third.in_flight, third.before) == (2, 1, 1, 2)
            assert (second.before, third.before) == (1, 2)
    assert heard == [2, 2, 1, 0]
