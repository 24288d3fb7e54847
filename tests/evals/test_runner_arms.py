"""Two arms in one run, and the laws of a run that fails, stops and goes on."""

import asyncio
import random
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.cache import Cache, Identity
from evals.client import Result
from evals.evidence import gather
from evals.lines import Manifest, Record
from evals.run_log import Log
from evals.schema import HARNESS_FAILURES, SYSTEM_FAILURES, Answer, Arm, Failure, Passage, Sample, Unjudged
from evals.spending import Spend
from tests.evals.bench import Bench, dataset, right

DIGESTS = {"faq@2": "sha256:" + "2" * 64, "faq@1": "sha256:" + "1" * 64}


def log_of(records: list[Record], count: int, epochs: int) -> Log:
    manifest = Manifest(
        suite="s",
        suite_digest="d",
        dataset="f",
        dataset_sha256=dataset(count).digest,
        samples=count,
        epochs=epochs,
        model="faq@2",
        baseline="faq@1",
        params={},
        system=None,
        scorers=[{"name": "exact"}],
    )
    return Log(Path("x"), manifest, tuple(records), True, "d", "", 0)


async def test_the_arms_of_a_sample_stand_side_by_side_and_take_turns_to_be_first() -> None:
    bench = Bench(right)
    await bench.run(dataset(4), baseline="faq@1", concurrency=1, epochs=2).execute()
    asked = [(body["messages"][0]["content"], body["model"]) for body in bench.bodies]
    assert [question for question, _ in asked[::2]] == [question for question, _ in asked[1::2]]
    assert all(
        {first[1], second[1]} == {"faq@1", "faq@2"} for first, second in zip(asked[::2], asked[1::2], strict=True)
    )
    firsts = [model for _, model in asked[::2]]
    assert firsts == ["faq@1", "faq@2", "faq@1", "faq@2", "faq@2", "faq@1", "faq@2", "faq@1"]


async def test_each_record_names_its_arm() -> None:
    bench = Bench(right)
    await bench.run(dataset(3), baseline="faq@1").execute()
    assert sorted((r.id, r.arm) for r in bench.written) == [
        (f"s{i}", arm) for i in range(3) for arm in ("baseline", "candidate")
    ]


async def test_passages_go_into_the_prompt_and_the_answer() -> None:
    passages = [Passage("d1", "the text")]

    async def prepare(sample: Sample) -> tuple[Sample, list[Passage] | None]:
        return Sample(id=sample.id, input=f"the text. {sample.input}"), passages

    bench = Bench(right)
    await bench.run(dataset(1), prepare=prepare).execute()
    assert bench.bodies[0]["messages"][0]["content"] == "the text. question 0"
    assert bench.written[0].answer is not None
    assert bench.written[0].answer.passages == passages


async def test_passages_that_cannot_be_had_are_missing_evidence() -> None:
    async def prepare(sample: Sample) -> tuple[Sample, list[Passage] | None]:
        raise Unjudged("retrieval_failed", "no index")

    bench = Bench(right)
    await bench.run(dataset(1), prepare=prepare).execute()
    (record,) = bench.written
    assert (record.outcome, record.failure, bench.bodies) == (
        "harness_error",
        Failure("retrieval_failed", "no index"),
        [],
    )


class Scripted:
    """An endpoint whose every (question, attempt) ends at random but the same way; one of two models is worse."""

    def __init__(self, seed: int, kinds: list[str]) -> None:
        self.seed, self.kinds = seed, kinds
        self.answered: dict[tuple[str, int], str] = {}

    def __call__(self, question: str, attempt: int) -> Result:
        rng = random.Random(f"{self.seed} {question} {attempt}")
        kind = rng.choice(["right", "right", "wrong", *self.kinds])
        if kind in ("right", "wrong"):
            text = question.replace("question", "answer") if kind == "right" else "wrong"
            return Result(answer=Answer(text=text, finish_reason="stop", cost="0.01"))
        return Result(failure=Failure(kind, "as told"), retryable=rng.random() < 0.7)


failures = st.lists(st.sampled_from([*SYSTEM_FAILURES, *HARNESS_FAILURES]), max_size=4)


@given(st.integers(0, 10_000), failures, st.integers(1, 8), st.integers(1, 3), st.lists(st.integers(0, 40), max_size=3))
@settings(deadline=None, max_examples=80)
def test_law_resumed_at_any_cut_every_sample_epoch_and_arm_has_one_record_that_counts(
    seed: int, kinds: list[str], count: int, epochs: int, cuts: list[int]
) -> None:
    records: list[Record] = []
    for cut in [*cuts, 10**6]:
        bench = Bench(Scripted(seed + len(records), kinds))
        bench.existing = tuple(records)
        run = bench.run(dataset(count), baseline="faq@1", epochs=epochs, max_retries=1)
        asyncio.run(run.execute())
        records += bench.written[:cut]
    wanted = {(f"s{i}", e, arm) for i in range(count) for e in range(epochs) for arm in ("candidate", "baseline")}
    assert {(r.id, r.epoch, r.arm) for r in records} == wanted
    known = [(r.id, r.epoch, r.arm) for r in records if r.outcome != "harness_error"]
    assert len(known) == len(set(known)), "evidence is never asked for again"
    arms: tuple[Arm, ...] = ("candidate", "baseline")
    for arm in arms:
        run_of_arm = gather(log_of(records, count, epochs), arm)
        assert not any("two results" in p or "results of" in p for p in run_of_arm.problems)
        counting = [r for unit in run_of_arm.units.values() for r in unit.records]
        assert len(counting) == count * epochs
        assert all(r.arm == arm for r in counting)
        right_ones = sum(r.scores["exact"].value for r in records if r.arm == arm and r.outcome == "scored")
        total = sum(unit.score("exact", "candidate")[0] for unit in run_of_arm.units.values())
        assert total == pytest.approx(right_ones / epochs)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_law_a_cap_loses_evidence_and_never_raises_a_score(seed: int, count: int, cents: int) -> None:
    scores, missing = [], []
    for cap in (None, Decimal(cents) / 100):
        bench = Bench(Scripted(seed, []))
        asyncio.run(bench.run(dataset(count), baseline="faq@1", spend=Spend(cap)).execute())
        ours = gather(log_of(bench.written, count, 1))
        scores.append(sum(unit.score("exact", "candidate")[0] for unit in ours.units.values()))
        missing.append([r for r in bench.written if r.outcome == "harness_error"])
        assert len(bench.written) == 2 * count
    assert missing[0] == []
    assert len(missing[1]) == max(0, 2 * count - cents)
    assert {r.failure.kind for r in missing[1] if r.failure} <= {"over_budget"}
    assert scores[1] <= scores[0]


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_law_the_cache_never_changes_a_score_and_never_mixes_epochs_or_arms(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, epochs: int
) -> None:
    """Every request gets an answer of its own: one taken from another epoch or arm would show."""
    now: dict[Arm, Identity | None] = {
        "candidate": Identity(DIGESTS["faq@2"], "e"),
        "baseline": Identity(DIGESTS["faq@1"], "e"),
    }
    folder, runs = tmp_path_factory.mktemp("answers"), []
    for attempt in range(2):
        bench = Bench(right)

        def answers(question: str, attempt: int, bench: Bench = bench) -> Result:
            model = bench.bodies[-1]["model"]
            number = sum(b["model"] == model and b["messages"][-1]["content"] == question for b in bench.bodies)
            rng = random.Random(f"{seed} {question} {model} {number}")
            text = question.replace("question", "answer") if rng.random() < 0.5 else f"wrong {model} {number}"
            return Result(
                answer=Answer(
                    text=text,
                    finish_reason="stop",
                    release=model,
                    release_digest=DIGESTS[model],
                    fingerprint="e",
                )
            )

        bench.answers = answers
        run = bench.run(dataset(count), baseline="faq@1", epochs=epochs, concurrency=1, cache=Cache(folder, now, print))
        asyncio.run(run.execute())
        runs.append({(r.id, r.epoch, r.arm): (r.scores, r.answer.text if r.answer else "") for r in bench.written})
        assert len(bench.bodies) == (0 if attempt else 2 * count * epochs)
        assert all(r.answer is not None and r.answer.cached == bool(attempt) for r in bench.written)
    assert runs[0] == runs[1]
