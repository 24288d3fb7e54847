"""Engines that were just seen up are asked what they are; the one token that this takes is accounted for."""

import asyncio
import itertools
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Release
from gateway.contracts.ledger import LedgerRow
from gateway.contracts.usage import Usage
from gateway.control_plane.registration import COMPLETIONS, Engines, Registration
from gateway.policy.health import Vitals
from gateway.settings.health import Health
from gateway.settings.replicas import AdapterConfig
from gateway.stores.spool import Spool, decode
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica
from tests.engine import recordings
from tests.engine.simulator import Engine, Fault
from tests.gateway.builders import NOW, release
from tests.gateway.servers import pages, server
from tests.gateway.serving import PRICES

AS_SIMULATED = {"version": "0.32.0", "flags": {"max-model-len": 4096}}


class House:
    """A registration over replicas that probes have found up."""

    def __init__(self, folder: Path) -> None:
        self.spool, self.telemetry = Spool(folder / "spool", "a"), Telemetry()
        self.replicas: list[Replica] = []
        self.releases: list[Release] = [release("faq@1", engine=AS_SIMULATED)]
        self.served_model: str | None = "faq"
        self.numbers = itertools.count()

    def arrives(self, *engines: Engine | str) -> None:
        """New replicas, each seen up by a probe."""
        for engine in engines:
            url, name = engine if isinstance(engine, str) else engine.url, f"r{len(self.replicas)}"
            self.replicas.append(Replica(name, url, api_key=None, connect_s=1.0, vitals=Vitals(Health(failures=1))))
            self.replicas[-1].vitals.probed(0.0, asleep=False)

    async def round(self, **settings: Any) -> None:
        await Registration(
            engines=lambda: [Engines("main", self.replicas, self.releases, self.served_model)],
            prices=lambda: PRICES,
            settings=Health(**settings),
            spool=self.spool,
            telemetry=self.telemetry,
            clock=lambda: NOW,
            monotonic=lambda: 0.0,
            new_id=lambda: f"probe-{next(self.numbers)}",
        ).round()

    def rows(self) -> list[LedgerRow]:
        """What was settled since the last time; nothing is left open."""
        assert self.spool.open_count == 0
        rows = [decode(line) for line in self.spool.take()]
        self.spool.stored()
        return rows


@pytest.fixture
def house(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[House]:
    made = House(tmp_path)
    with caplog.at_level(logging.INFO, "tollgate"):
        yield made
    made.spool.close()


async def test_facts_are_kept_and_told_in_one_line(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async with Engine("faq", fingerprint="vllm-abc") as engine:
        house.arrives(engine)
        await house.round()
        facts = house.replicas[0].facts
        assert facts is not None
        assert (facts.version, facts.max_model_len, facts.models) == ("0.32.0", 4096, ("faq",))
        assert facts.fingerprint == "vllm-abc"
        (line,) = [each for each in caplog.messages if "is vLLM" in each]
        assert line == (
            "replica 'r0' is vLLM 0.32.0, fingerprint vllm-abc, max_model_len 4096, models faq, adapters none"
        )
        assert sum("lacks metrics" in each for each in caplog.messages) == bool(facts.missing)
        assert not any("expects" in each for each in caplog.messages)


async def test_an_adapter_from_elsewhere_than_its_release_s_is_told(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.releases = [replace(release("faq@1"), adapter=AdapterConfig(name="fr", path="/adapters/fr"))]
    async with Engine("faq", loras="fr") as engine:
        house.arrives(engine)
        await house.round()
    told = "replica 'r0': faq@1 expects the adapter 'fr' from '/adapters/fr', and the engine has one of that name from "
    assert told + "'loras/fr': no request for it goes there" in caplog.messages


async def test_the_one_token_is_one_row_with_its_price(house: House) -> None:
    async with Engine("faq") as engine:
        house.arrives(engine)
        await house.round()
        (row,) = house.rows()
        assert (row.purpose, row.key_id, row.team, row.replica) == ("probe", "-", "tollgate", "r0")
        assert (row.outcome, row.status, row.release, row.endpoint) == ("completed", 200, "faq@1", COMPLETIONS)
        assert (row.input_tokens, row.output_tokens) == (engine.prompt_tokens, engine.generated_tokens) == (1, 1)
        assert Decimal(row.cost or 0) == PRICES.cost("faq", Usage(1, 1), row.started_at)
        assert engine.received(COMPLETIONS)[0].json["max_tokens"] == 1
        assert house.replicas[0].in_flight == 0


async def test_each_arrival_is_asked_once(house: House) -> None:
    async with Engine("faq") as engine:
        house.arrives(engine)
        for _ in range(3):
            await house.round()
        assert len(house.rows()) == 1
        vitals = house.replicas[0].vitals
        vitals.missed()
        await house.round()
        assert house.rows() == []
        engine.version = "0.33.0"
        vitals.probed(9.0, asleep=False)
        await house.round()
        assert len(house.rows()) == 1
        facts = house.replicas[0].facts
        assert facts is not None
        assert facts.version == "0.33.0"


@pytest.mark.parametrize("settings", [{"fingerprint": False}, {}])
async def test_no_token_is_asked_for_when_it_is_switched_off_or_the_engine_makes_none(
    house: House, settings: dict[str, Any]
) -> None:
    if not settings:
        house.releases = [release("faq@1", engine={"flags": {"runner": "pooling"}})]
    async with Engine("faq", runner="pooling") as engine:
        house.arrives(engine)
        await house.round(**settings)
        assert house.rows() == []
        assert engine.received(COMPLETIONS) == []
        assert house.replicas[0].facts is not None


async def test_who_sleeps_drains_or_is_broken_is_left_alone_until_later(house: House) -> None:
    async with Engine("faq") as engine:
        house.arrives(engine, engine, engine)
        sleeper, drainer, broken = (replica.vitals for replica in house.replicas)
        sleeper.probed(0.0, asleep=True)
        drainer.drain(True, 0.0)
        for _ in range(3):
            broken.failed(0.0)
        await house.round()
        assert engine.requests == []
        sleeper.probed(1.0, asleep=False)
        await house.round()
        assert [row.replica for row in house.rows()] == ["r0"]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault("refuse"), "upstream_overloaded"),
        (Fault("error"), "upstream_failed"),
        (Fault("close"), "upstream_failed"),
        (Fault("garbage"), "upstream_failed"),
        (Fault("no_usage"), "completed"),
    ],
)
async def test_a_token_that_does_not_come_is_one_row_too(house: House, fault: Fault, outcome: str) -> None:
    async with Engine("faq") as engine:
        engine.faults.append(fault)
        house.arrives(engine)
        await house.round()
        (row,) = house.rows()
        assert (row.outcome, row.input_tokens, row.cost) == (outcome, None, None)
        assert house.replicas[0].facts is not None
        assert house.replicas[0].in_flight == 0
        await house.round()
        assert house.rows() == [], "it is not asked again and again"


async def test_a_round_that_is_cancelled_leaves_its_row(house: House) -> None:
    async with Engine("faq") as engine:
        engine.hold()
        house.arrives(engine)
        asking = asyncio.create_task(house.round())
        await engine.wait_for(lambda e: e.running == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await engine.wait_for(lambda e: e.aborted == 1)
        (row,) = house.rows()
        assert (row.outcome, row.purpose) == ("gateway_lost", "probe")
        assert house.replicas[0].in_flight == 0


async def test_an_engine_that_cannot_be_asked_is_asked_again(house: House) -> None:
    async with Engine("faq") as engine:
        engine.faults.append(Fault("close", path="/version"))
        house.arrives(engine)
        await house.round()
        assert (house.replicas[0].facts, house.rows()) == (None, [])
        await house.round()
        assert house.replicas[0].facts is not None


async def test_what_is_not_as_the_release_says_is_a_warning_with_both_sides(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.releases = [release("faq@1", engine={"version": "0.31.0", "flags": {"max-model-len": 99}})]
    house.served_model = "other"
    async with Engine("faq") as engine:
        house.arrives(engine)
        await house.round(fingerprint=False)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    told = [each for each in warned if "faq@1" in each]
    assert [("'0.31.0'" in each, "99" in each, "'other'" in each) for each in told] == [
        (True, False, False), (False, True, False), (False, False, True),
    ]  # fmt: skip


async def test_replicas_that_differ_are_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async with Engine("faq") as one, Engine("faq", version="0.33.0", max_model_len=8) as other:
        house.arrives(one, other)
        await house.round(fingerprint=False)
        await house.round(fingerprint=False)
    told = [each for each in caplog.messages if each.startswith("pool 'main': its replicas differ")]
    assert len(told) == 2
    assert "'0.32.0' on r0; '0.33.0' on r1" in told[0]


async def test_a_page_that_does_not_exist_says_nothing(house: House, caplog: pytest.LogCaptureFixture) -> None:
    metrics = recordings.load("metrics").body
    async with server(pages({"/metrics": (200, metrics)})) as url:
        house.arrives(url)
        await house.round(fingerprint=False)
    facts = house.replicas[0].facts
    assert facts is not None
    assert (facts.version, facts.models, facts.missing) == (None, (), ())
    assert "vLLM of unknown version" in caplog.text
    assert "lacks metrics" not in caplog.text


@pytest.mark.parametrize("tells", [True, False])
async def test_what_answers_do_not_carry_is_told_with_what_it_means_for_cost(
    house: House, caplog: pytest.LogCaptureFixture, tells: bool
) -> None:
    usage: dict[str, Any] = {"prompt_tokens": 1, "completion_tokens": 1}
    told: dict[str, Any] = {"choices": [], "usage": usage}
    if tells:
        usage["prompt_tokens_details"] = {"cached_tokens": 0}
        told["metrics"] = {"queue_time_ms": 1.0, "time_to_first_token_ms": 2.0}
    answers = {"/metrics": (200, recordings.load("metrics").body), COMPLETIONS: (200, json.dumps(told).encode())}
    async with server(pages(answers)) as url:
        house.arrives(url)
        await house.round()
        await house.round()
    facts = house.replicas[0].facts
    assert facts is not None
    assert (facts.times, facts.cached) == (tells, tells)
    lacking = [each for each in caplog.messages if "does not tell" in each]
    assert ["--enable-" in each for each in lacking] == ([] if tells else [True, True])
    (row,) = house.rows()
    assert (row.engine_queue_s, row.engine_prefill_s) == ((0.001, 0.002) if tells else (None, None))
    assert row.dispatched_s == 0.0
