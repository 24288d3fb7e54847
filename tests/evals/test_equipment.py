import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from evals.config import SuiteConfig
from evals.equipment import Outside, equipped
from evals.schema import Sample, Unjudged
from evals.scorers.base import NoServices
from gateway.contracts.errors import InputError
from tests.evals.judge_bench import Bench, verdict

SUITE = {"suite": "s", "dataset": "d.jsonl", "scorers": [{"name": "exact"}]}


def outside(base_url: str = "http://127.0.0.1:1/v1") -> Outside:
    return Outside(base_url, "sk-run", os.environ, time.monotonic, asyncio.sleep, random.Random(0), print)


async def test_a_plain_suite_needs_nobody(tmp_path: Path) -> None:
    async with equipped(SuiteConfig.model_validate(SUITE), tmp_path, outside()) as equipment:
        assert isinstance(equipment.services, NoServices)
        assert (equipment.identity, equipment.bill) == (None, None)
        sample = Sample(id="a", input="q")
        assert await equipment.prepare(sample) == (sample, None)


async def test_passages_of_a_sample_go_into_its_question(tmp_path: Path) -> None:
    async with equipped(SuiteConfig.model_validate(SUITE), tmp_path, outside()) as equipment:
        asked, passages = await equipment.prepare(Sample(id="a", input="What is it?", contexts=["It is blue."]))
    assert "It is blue." in asked.question()
    assert "What is it?" in asked.question()
    assert passages is not None
    assert [each.text for each in passages] == ["It is blue."]


async def test_an_embedding_model_is_part_of_what_a_score_depends_on(tmp_path: Path) -> None:
    suite = SuiteConfig.model_validate(SUITE | {"embeddings": {"model": "wordllama"}})
    async with equipped(suite, tmp_path, outside()) as equipment:
        assert equipment.identity is not None
        assert set(equipment.identity) == {"embeddings"}
        (vector,) = await equipment.services.embed(["a text"])
        assert len(vector) > 0
        with pytest.raises(Unjudged, match="no judge"):
            await equipment.services.chat({"messages": []})


async def test_a_judge_that_is_not_there_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    suite = SuiteConfig.model_validate(SUITE | {"judge": {"model": "judge@3"}})
    with pytest.raises(InputError, match="nothing usable answers"):
        async with equipped(suite, tmp_path, outside()):
            raise AssertionError("it was not missed")


async def test_what_a_judge_costs_is_counted(tmp_path: Path) -> None:
    async with Bench(lambda body: verdict("pass")).served() as url:
        suite = SuiteConfig.model_validate(SUITE | {"judge": {"model": "judge@3", "base_url": url}})
        async with equipped(suite, tmp_path, outside()) as equipment:
            await equipment.services.chat({"messages": [{"role": "user", "content": "q"}]})
            assert equipment.bill is not None
            assert equipment.bill.calls == 1
