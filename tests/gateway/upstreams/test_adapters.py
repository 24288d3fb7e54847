"""Who holds an adapter, and having it loaded where nobody does."""

import asyncio

import pytest

from gateway.client import ClientGone
from gateway.contracts.errors import UpstreamUnavailable
from gateway.control_plane.registration import ask_facts
from gateway.policy.facts import Facts
from gateway.settings.replicas import AdapterConfig
from gateway.upstreams.adapters import LOAD, REFUSED_S, SPREAD_S, Adapters, NotLoaded, holders, lost
from gateway.upstreams.vllm import Replica
from tests.engine import raw
from tests.engine.adapters import NOWHERE, UNLOAD
from tests.engine.simulator import Engine, Fault
from tests.gateway.waiting import client
from tests.polling import until

INVOICES = AdapterConfig(name="invoices", path="loras/invoices")


def _replica(
    name: str, url: str = "http://a:8000", *adapters: str, known: bool = True, rank: int | None = None
) -> Replica:
    replica = Replica(name, url, api_key=None, connect_s=1.0, rank=rank)
    replica.facts = Facts(models=("faq",), adapters=adapters) if known else None
    return replica


def test_those_hold_it_that_say_so_or_have_not_been_asked() -> None:
    engines = [_replica("with", "http://a", "invoices"), _replica("without"), _replica("new", known=False)]
    assert [each.name for each in holders(engines, engines, INVOICES)] == ["with", "new"]


def test_only_what_is_offered_is_chosen_from() -> None:
    engines = [_replica("a", "http://a", "invoices"), _replica("b", "http://b", "invoices")]
    assert holders(engines[1:], engines, INVOICES) == engines[1:]


async def test_a_load_makes_every_rank_of_the_engine_a_holder() -> None:
    async with Engine("faq", runtime_loras=True) as engine:
        ranks = [_replica(f"r.{rank}", engine.url, rank=rank) for rank in range(2)]
        other = _replica("other", "http://elsewhere:8000")
        await Adapters().load(ranks[0], INVOICES, [*ranks, other], client(), "tg-1", 5.0, 5.0)
        assert holders([*ranks, other], [*ranks, other], INVOICES) == ranks
        (received,) = engine.received(LOAD)
        assert received.json == {"lora_name": "invoices", "lora_path": "loras/invoices"}
        assert (await ask_facts(ranks[0], 5.0)).adapters == ("invoices",)


async def test_requests_that_need_the_same_load_wait_for_one() -> None:
    adapters = Adapters()
    async with Engine("faq", runtime_loras=True) as engine:
        replica = _replica("r", engine.url)
        await asyncio.gather(
            *(adapters.load(replica, INVOICES, [replica], client(), f"tg-{n}", 5.0, 5.0) for n in range(5))
        )
        assert len(engine.received(LOAD)) == 1


async def test_requests_that_chose_other_replicas_wait_for_the_load_under_way() -> None:
    adapters = Adapters()
    async with Engine("faq", runtime_loras=True) as one, Engine("faq", runtime_loras=True) as two:
        engines = [_replica("one", one.url), _replica("two", two.url)]
        await asyncio.gather(
            *(adapters.load(engines[n % 2], INVOICES, engines, client(), f"tg-{n}", 5.0, 5.0) for n in range(6))
        )
        assert (len(one.received(LOAD)), len(two.received(LOAD))) == (1, 0)
        assert holders(engines, engines, INVOICES) == engines[:1]


async def test_what_the_engine_holds_already_is_held() -> None:
    async with Engine("faq", runtime_loras=True, loras="invoices") as engine:
        replica = _replica("r", engine.url)
        await Adapters().load(replica, INVOICES, [replica], client(), "tg-1", 5.0, 5.0)
        assert holders([replica], [replica], INVOICES) == [replica]


async def test_an_engine_that_has_another_one_of_that_name_is_no_holder_and_loads_none() -> None:
    other = AdapterConfig(name="invoices", path="loras/invoices/2")
    async with Engine("faq", runtime_loras=True) as engine:
        replica = _replica("r", engine.url)
        await Adapters().load(replica, INVOICES, [replica], client(), "tg-1", 5.0, 5.0)
        assert (holders([replica], [replica], INVOICES), holders([replica], [replica], other)) == ([replica], [])
        with pytest.raises(NotLoaded, match="another one of that name, from 'loras/invoices': give the one from") as e:
            await Adapters().load(replica, other, [replica], client(), "tg-2", 5.0, 5.0)
        assert "'loras/invoices/2' a name of its own" in e.value.message
        assert len(engine.received(LOAD)) == 1
        assert holders([replica], [replica], INVOICES) == [replica]


async def test_what_somebody_else_had_loaded_from_elsewhere_is_not_taken_for_it() -> None:
    other = AdapterConfig(name="invoices", path="loras/invoices/2")
    async with Engine("faq", runtime_loras=True) as engine:
        one, two = _replica("r", engine.url), _replica("r", engine.url)
        await Adapters().load(one, INVOICES, [one], client(), "tg-1", 5.0, 5.0)
        with pytest.raises(NotLoaded, match="another one of that name, from 'loras/invoices'"):
            await Adapters().load(two, other, [two], client(), "tg-2", 5.0, 5.0)
        assert (holders([two], [two], other), holders([two], [two], INVOICES)) == ([], [two])


async def test_what_an_engine_said_of_where_one_is_from_may_be_old() -> None:
    other = AdapterConfig(name="invoices", path="loras/invoices/2")
    async with Engine("faq", runtime_loras=True) as engine:
        replica = _replica("r", engine.url)
        await Adapters().load(replica, INVOICES, [replica], client(), "tg-1", 5.0, 5.0)
        await raw.post(engine.url, UNLOAD, b'{"lora_name": "invoices"}')
        await Adapters().load(replica, other, [replica], client(), "tg-2", 5.0, 5.0)
        assert holders([replica], [replica], other) == [replica]
        await raw.post(engine.url, UNLOAD, b'{"lora_name": "invoices"}')
        await raw.post(engine.url, LOAD, b'{"lora_name": "invoices", "lora_path": "loras/invoices"}')
        await Adapters().load(replica, INVOICES, [replica], client(), "tg-3", 5.0, 5.0)
        assert holders([replica], [replica], INVOICES) == [replica]
        assert len(engine.received(LOAD)) == 3


async def test_a_load_outlives_the_request_that_wanted_it() -> None:
    adapters = Adapters()
    async with Engine("faq", runtime_loras=True) as engine:
        replica = _replica("r", engine.url)
        waiting = asyncio.create_task(adapters.load(replica, INVOICES, [replica], client(), "tg-1", 5.0, 5.0))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await adapters.load(replica, INVOICES, [replica], client(), "tg-2", 5.0, 5.0)
        assert len(engine.received(LOAD)) == 1


async def test_a_request_waits_for_no_longer_than_it_may_and_the_load_goes_on() -> None:
    adapters = Adapters()
    async with Engine("faq", runtime_loras=True) as engine:
        engine.faults.append(Fault("stall", path=LOAD))
        replica = _replica("r", engine.url)
        for number in range(2):
            with pytest.raises(NotLoaded, match="'r' loads it for longer than this request may take"):
                await adapters.load(replica, INVOICES, [replica], client(), f"tg-{number}", 30.0, 0.2)
        assert len(adapters._loading) == len(engine.received(LOAD)) == 1


async def test_a_client_that_leaves_does_not_wait_for_the_load_which_goes_on() -> None:
    adapters, leaving = Adapters(), client()
    async with Engine("faq", runtime_loras=True) as engine:
        engine.faults.append(Fault("stall", path=LOAD))
        replica = _replica("r", engine.url)
        waiting = asyncio.create_task(adapters.load(replica, INVOICES, [replica], leaving, "tg-1", 5.0, 5.0))
        await engine.wait_for(lambda engine: engine.received(LOAD))
        leaving.departed()
        with pytest.raises(ClientGone):
            await waiting
        assert len(adapters._loading) == 1
        await engine.stop()
        with pytest.raises(UpstreamUnavailable):
            await adapters.load(replica, INVOICES, [replica], client(), "tg-2", 5.0, 5.0)


@pytest.mark.parametrize(
    ("adapter", "runtime", "expected"),
    [
        (AdapterConfig(name="invoices"), True, "give its `path`"),
        (INVOICES, False, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"),
        (AdapterConfig(name="faq", path="/adapters/faq"), True, "conflicts with a served base model"),
        (AdapterConfig(name="x", path=f"{NOWHERE}/x"), True, f"No adapter found for {NOWHERE}/x"),
    ],
)
async def test_a_load_that_fails_says_why(adapter: AdapterConfig, runtime: bool, expected: str) -> None:
    async with Engine("faq", runtime_loras=runtime) as engine:
        replica = _replica("r", engine.url)
        with pytest.raises(UpstreamUnavailable, match="no replica holds the adapter") as caught:
            await Adapters().load(replica, adapter, [replica], client(), "tg-1", 5.0, 5.0)
        assert expected in caught.value.message
        assert holders([replica], [replica], adapter) == []


async def test_an_engine_that_breaks_off_fails_the_load_and_may_be_asked_again() -> None:
    adapters = Adapters()
    async with Engine("faq", runtime_loras=True) as engine:
        engine.faults.append(Fault("close", path=LOAD))
        replica = _replica("r", engine.url)
        with pytest.raises(UpstreamUnavailable):
            await adapters.load(replica, INVOICES, [replica], client(), "tg-1", 5.0, 5.0)
        engine.faults.clear()
        await adapters.load(replica, INVOICES, [replica], client(), "tg-2", 5.0, 5.0)
        assert holders([replica], [replica], INVOICES) == [replica]


@pytest.mark.parametrize("how", ["down", "gone"])
async def test_nobody_waits_for_a_load_of_a_replica_that_is_down_or_left(how: str) -> None:
    adapters = Adapters()
    async with Engine("faq", runtime_loras=True) as hangs, Engine("faq", runtime_loras=True) as loads:
        hangs.faults.append(Fault("stall", path=LOAD))
        first, second = engines = [_replica("first", hangs.url), _replica("second", loads.url)]
        adapters.spread(first, INVOICES, engines, "tg-1", 5.0)
        await hangs.wait_for(lambda engine: engine.received(LOAD))
        first.vitals.up = how != "down"
        await adapters.load(second, INVOICES, engines if how == "down" else [second], client(), "tg-2", 5.0, 5.0)
        assert holders(engines, engines, INVOICES) == [second]
        await hangs.stop()
        await until(lambda: adapters.willing(engines, INVOICES) == [second])
        assert adapters._loading == {}


def test_a_replica_that_lost_it_holds_it_no_more_which_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    engines = [_replica("a", "http://a", "invoices"), _replica("b", "http://b", "invoices")]
    for _ in range(3):
        lost(engines, engines[0], INVOICES)
    assert holders(engines, engines, INVOICES) == engines[1:]
    assert caplog.messages == ["replica 'a' does not hold the adapter 'invoices' any more"]


async def test_one_more_replica_is_told_at_a_time_and_not_soon_after_another() -> None:
    now = [100.0]
    adapters = Adapters(lambda: now[-1])
    async with Engine("faq", runtime_loras=True) as one, Engine("faq", runtime_loras=True) as two:
        first, second = engines = [_replica("one", one.url), _replica("two", two.url)]
        for replica in engines:
            adapters.spread(replica, INVOICES, engines, "tg-1", 5.0)
        await until(lambda: first.facts is not None and first.facts.adapters)
        now.append(100.0 + SPREAD_S - 0.1)
        adapters.spread(second, INVOICES, engines, "tg-2", 5.0)
        assert two.received(LOAD) == []
        now.append(100.0 + SPREAD_S)
        adapters.spread(second, INVOICES, engines, "tg-3", 5.0)
        await until(lambda: holders(engines, engines, INVOICES) == engines)
        assert (len(one.received(LOAD)), len(two.received(LOAD))) == (1, 1)


async def test_that_nobody_else_loads_it_is_said_once_until_somebody_does(caplog: pytest.LogCaptureFixture) -> None:
    now, told = [0.0], "no more replicas hold the adapter 'invoices', whose own are busy: 'r' does not load it"
    adapters = Adapters(lambda: now[-1])
    async with Engine("faq") as engine:
        replica = _replica("r", engine.url)
        for loads, times in ((False, 1), (False, 1), (True, 1), (False, 2)):
            engine.runtime_loras = loads
            replica.facts = Facts(models=("faq",))
            adapters.spread(replica, INVOICES, [replica], "tg-1", 5.0)
            await until(lambda: not adapters._loading)
            assert sum(told in each for each in caplog.messages) == times
            now.append(now[-1] + SPREAD_S)


async def test_who_did_not_load_it_is_asked_last_for_a_while() -> None:
    now = [100.0]
    adapters = Adapters(lambda: now[-1])
    async with Engine("faq") as refuses:
        first, second = engines = [_replica("first", refuses.url), _replica("second")]
        with pytest.raises(NotLoaded):
            await adapters.load(first, INVOICES, engines, client(), "tg-1", 5.0, 5.0)
        for at, willing in ((100.0, [second]), (100.0 + REFUSED_S - 0.1, [second]), (100.0 + REFUSED_S, engines)):
            now.append(at)
            assert adapters.willing(engines, INVOICES) == willing
