"""Bursts on an engine over real sockets: what is asked, and that a known engine is found again."""

from collections.abc import Mapping
from itertools import chain, repeat
from random import Random

import pytest

from gateway.contracts.errors import InputError
from gateway.control_plane.calibration import ALONE, Driver, Grid, watch
from gateway.simulation.fit import Burst, fit
from gateway.simulation.pages import read_pages
from gateway.upstreams.vllm import Replica
from tests.gateway.modelled import STEP, Modelled
from tests.gateway.servers import pages, server

GRID = Grid(prompts=(64, 512), answers=(1, 8, 40), requests=(1, 6), repeats=2)


def driver(url: str, model: Modelled) -> Driver:
    """One that lives by the engine's clock."""
    replica = Replica("engine", url, api_key=None, connect_s=5.0)
    return Driver(replica, "faq", Random(1), lambda: model.now, timeout_s=5.0, settle_s=0.0)


def modelled(grid: Grid = GRID) -> Modelled:
    """An engine that expects what a driver asks."""
    return Modelled(plan=chain(repeat(ALONE, 1 + grid.repeats), grid.bursts(None) * grid.repeats))


async def test_a_known_engine_is_found_by_asking_it() -> None:
    model, told = modelled(), list[tuple[int, int]]()
    async with server(model.answer) as url:
        windows = await driver(url, model).calibrate(GRID, 4096, lambda done, of: told.append((done, of)))
    assert [each.burst for each in windows] == GRID.bursts(None)
    assert told == [(done, 24) for done in range(1, 25)]
    found = fit(windows)
    assert found.step.model_dump() == pytest.approx(STEP.model_dump(), rel=1e-6)
    assert found.r2 == pytest.approx(1.0)


async def test_the_fastest_of_several_tries_counts() -> None:
    """The second time the clock goes twice as fast."""
    grid = Grid((64,), (8,), (1,), repeats=2)
    model = modelled(grid)
    async with server(model.answer) as url:
        asking = driver(url, model)
        slow = Driver(asking.replica, "faq", Random(1), lambda: model.now * (3 if model.firsts < 5 else 1), 5.0, 0.0)
        (once,) = await slow.calibrate(grid, None, lambda *_: None)
    assert once.step_s < 0.02


def test_bursts_that_do_not_fit_the_context_are_left_out() -> None:
    grid = Grid(prompts=(64, 500), answers=(1, 32), requests=(2,))
    assert grid.bursts(512) == [Burst(2, 64, 1), Burst(2, 500, 1), Burst(2, 64, 32)]
    assert len(grid.bursts(None)) == 4


async def test_a_context_for_no_burst_is_told() -> None:
    model = modelled()
    async with server(model.answer) as url:
        with pytest.raises(InputError, match="no burst fits the model's context of 32 tokens"):
            await driver(url, model).calibrate(GRID, 32, lambda *_: None)


async def test_others_on_the_engine_are_noticed() -> None:
    model = modelled()
    model.crowd = 1
    async with server(model.answer) as url:
        with pytest.raises(InputError, match="served others"):
            await driver(url, model).calibrate(GRID, None, lambda *_: None)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({}, "/tokenize: "),
        ({"/tokenize": (200, b'{"tokens": []}')}, "does not give tokens"),
        ({"/tokenize": (200, b'{"tokens": [1]}')}, "/metrics answers 404"),
        ({"/tokenize": (200, b'{"tokens": [1]}'), "/metrics": (200, b"up 1\n")}, "does not say 'vllm:"),
    ],
)
async def test_what_is_no_vllm_is_told(answers: Mapping[str, tuple[int, bytes]], told: str) -> None:
    async with server(pages(answers)) as url:
        with pytest.raises(InputError, match=told):
            await driver(url, modelled()).calibrate(GRID, None, lambda *_: None)


async def test_an_engine_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:1/metrics: "):
        await driver("http://127.0.0.1:1", modelled()).page()


async def test_a_watch_is_a_file_of_pages() -> None:
    model, told = modelled(), list[float]()
    ticks = iter(range(0, 100, 2))
    async with server(model.answer) as url:
        asking = driver(url, model)
        watching = Driver(asking.replica, "faq", Random(1), lambda: float(next(ticks)), 5.0)
        text = await watch(watching, 5.0, 0.0, told.append)
    assert [each.at for each in read_pages(text)] == [2.0, 4.0, 6.0]
    assert told == [2.0, 4.0, 5.0]
