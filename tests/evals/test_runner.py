import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.asking import Request
from evals.client import Result
from evals.evidence import gather
from evals.lines import Manifest, Record
from evals.retrying import BACKOFF_CAP_S, LONGEST_WAIT_S
from evals.run_log import Log
from evals.runner import HOPELESS, total
from evals.schema import HARNESS_FAILURES, SYSTEM_FAILURES, Answer, Failure, Sample, Score, outcome_of
from gateway.contracts.errors import InputError
from tests.evals.bench import Bench, dataset, failing, right


async def test_every_sample_leaves_one_scored_record() -> None:
    bench = Bench(right)
    await bench.run(dataset(25)).execute()
    assert Counter(record.id for record in bench.written) == Counter(f"s{i}" for i in range(25))
    assert {record.outcome for record in bench.written} == {"scored"}
    assert all(record.scores == {"exact": Score(1.0)} for record in bench.written)
    assert all(record.digest == dataset(25).digests[record.id] for record in bench.written)


async def test_the_request_carries_model_system_and_params() -> None:
    bench = Bench(right)
    await bench.run(dataset(1), system="be brief", params={"temperature": 0, "max_tokens": 48}).execute()
    assert bench.bodies == [
        {
            "model": "faq@2",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "question 0"}],
            "temperature": 0,
            "max_tokens": 48,
        }
    ]


def test_a_sample_keeps_its_own_system_message() -> None:
    sample = Sample(id="a", input=[{"role": "system", "content": "mine"}, {"role": "user", "content": "q"}])
    request = Request("m", {}, system="theirs")
    body = json.loads(request.body(request.messages(sample)))
    assert [message["content"] for message in body["messages"]] == ["mine", "q"]
    assert len(sample.input) == 2


@pytest.mark.parametrize(("params", "seeds"), [({"seed": 7}, [7, 8, 9]), ({}, [None, None, None])])
def test_epochs_move_the_seed(params: dict[str, int], seeds: list[int | None]) -> None:
    sample = Sample(id="a", input="q")
    request = Request("m", params)
    bodies = [json.loads(request.body(request.messages(sample), epoch)) for epoch in range(3)]
    assert [body.get("seed") for body in bodies] == seeds


async def test_concurrency_is_bounded_and_used() -> None:
    bench = Bench(right)
    await bench.run(dataset(40), concurrency=5).execute()
    assert bench.most_under_way == 5


@pytest.mark.parametrize("kind", ["unreachable", "timeout", "limited", "server_error"])
async def test_what_may_pass_is_tried_again(kind: str) -> None:
    bench = Bench(failing(kind, times=3))
    await bench.run(dataset(1), max_retries=4).execute()
    (record,) = bench.written
    assert (record.outcome, record.attempts) == ("scored", 4)
    assert len(bench.slept) == 3


@pytest.mark.parametrize("kind", [*SYSTEM_FAILURES, *HARNESS_FAILURES])
async def test_a_failure_that_lasts_becomes_the_outcome_of_its_kind(kind: str) -> None:
    bench = Bench(failing(kind))
    await bench.run(dataset(1), max_retries=2).execute()
    (record,) = bench.written
    assert (record.outcome, record.attempts, record.scores) == (outcome_of(kind), 3, {})
    assert record.failure == Failure(kind, "as told")


async def test_what_cannot_pass_is_not_tried_again() -> None:
    bench = Bench(failing("rejected", retryable=False))
    await bench.run(dataset(1)).execute()
    assert bench.attempts["question 0"] == 1
    assert bench.slept == []


async def test_backoff_grows_is_jittered_and_capped() -> None:
    bench = Bench(failing("server_error"))
    await bench.run(dataset(1), max_retries=20).execute()
    longest = [min(BACKOFF_CAP_S, 0.5 * 2**n) for n in range(20)]
    assert all(0 <= wait <= most for wait, most in zip(bench.slept, longest, strict=True))
    assert len(set(bench.slept)) == 20
    assert max(bench.slept) > 5


async def test_the_same_generator_gives_the_same_waits() -> None:
    waits = []
    for _ in range(2):
        bench = Bench(failing("server_error"))
        await bench.run(dataset(3), concurrency=1).execute()
        waits.append(bench.slept)
    assert waits[0] == waits[1]


async def test_the_servers_wish_to_wait_is_honoured() -> None:
    bench = Bench(failing("limited", times=1, retry_after=17.0))
    await bench.run(dataset(1)).execute()
    assert bench.slept == [17.0]
    assert bench.written[0].outcome == "scored"


async def test_a_wish_beyond_all_patience_ends_the_attempts() -> None:
    bench = Bench(failing("limited", retry_after=LONGEST_WAIT_S + 1))
    await bench.run(dataset(1)).execute()
    assert bench.slept == []
    assert bench.written[0].failure == Failure("limited", "as told")


async def test_after_the_deadline_nothing_is_sent_and_nothing_is_dropped() -> None:
    bench = Bench(right, delay=1.0)
    await bench.run(dataset(10), concurrency=1, deadline_s=3.5).execute()
    assert Counter(record.outcome for record in bench.written) == {"scored": 4, "harness_error": 6}
    assert {record.failure.kind for record in bench.written if record.failure} == {"deadline"}
    assert bench.timeouts == [3.5, 2.5, 1.5, 0.5]


async def test_a_wait_beyond_the_deadline_is_not_waited() -> None:
    bench = Bench(failing("server_error", retry_after=10.0), delay=1.0)
    await bench.run(dataset(1), deadline_s=5.0).execute()
    (record,) = bench.written
    assert record.failure is not None
    assert (record.failure.kind, record.outcome, bench.slept) == ("deadline", "harness_error", [])
    assert "as told" in record.failure.message


async def test_a_resumed_run_asks_only_for_what_is_missing() -> None:
    data = dataset(4)
    done = [
        Record(id="s0", digest="d", outcome="scored"),
        Record(id="s1", digest="d", outcome="system_error", failure=Failure("server_error", "")),
        Record(id="s2", digest="d", outcome="harness_error", failure=Failure("timeout", "")),
    ]
    bench = Bench(right)
    bench.existing = tuple(done)
    await bench.run(data).execute()
    assert sorted(record.id for record in bench.written) == ["s2", "s3"]


async def test_a_resumed_run_tells_epochs_apart() -> None:
    bench = Bench(right)
    bench.existing = (Record(id="s0", digest="d", outcome="scored", epoch=1),)
    await bench.run(dataset(2), epochs=2).execute()
    assert sorted((record.id, record.epoch) for record in bench.written) == [("s0", 0), ("s1", 0), ("s1", 1)]


@pytest.mark.parametrize(
    ("kind", "message"),
    [("unreachable", "refused"), ("server_error", "503 upstream_unavailable"), ("not_found", "404: no such")],
)
async def test_where_nobody_serves_the_run_ends(kind: str, message: str) -> None:
    bench = Bench(lambda question, attempt: Result(failure=Failure(kind, message), retryable=True))
    with pytest.raises(InputError, match=f"samples found nobody who serves them; the last: {message}"):
        await bench.run(dataset(500)).execute()
    assert HOPELESS <= len(bench.written) < HOPELESS + 4


async def test_one_answer_is_enough_to_go_on() -> None:
    def answers(question: str, attempt: int) -> Result:
        return right(question, attempt) if question == "question 3" else failing("unreachable")(question, attempt)

    bench = Bench(answers)
    await bench.run(dataset(30)).execute()
    assert len(bench.written) == 30


async def test_a_system_that_always_fails_is_evidence() -> None:
    bench = Bench(lambda question, attempt: Result(failure=Failure("server_error", "500: oh"), retryable=True))
    await bench.run(dataset(30)).execute()
    assert {record.outcome for record in bench.written} == {"system_error"}


async def test_a_limit_takes_the_first_samples() -> None:
    bench = Bench(right)
    run = bench.run(dataset(10), limit=3)
    await run.execute()
    assert sorted(record.id for record in bench.written) == ["s0", "s1", "s2"]
    assert total(run.dataset, run.request) == 3


async def test_progress_hears_of_every_record() -> None:
    bench = Bench(right)
    heard: list[Record] = []
    run = bench.run(dataset(5))
    run.on_record = heard.append
    await run.execute()
    assert heard == bench.written


@given(st.lists(st.sampled_from(["right", "wrong", *SYSTEM_FAILURES, *HARNESS_FAILURES]), min_size=1, max_size=12))
@settings(deadline=None)
def test_law_failures_never_raise_a_score(plan: list[str]) -> None:
    """The candidate's score is that of a run in which every failure was a wrong answer."""

    def answers(question: str, attempt: int) -> Result:
        kind = plan[int(question.split()[1])]
        if kind in ("right", "wrong"):
            return right(question, attempt) if kind == "right" else Result(answer=Answer(text="wrong"))
        return Result(failure=Failure(kind, ""))

    bench, data = Bench(answers), dataset(len(plan))
    asyncio.run(bench.run(data).execute())
    manifest = Manifest(
        suite="s",
        suite_digest="d",
        dataset="f",
        dataset_sha256=data.digest,
        samples=len(plan),
        epochs=1,
        model="m",
        params={},
        system=None,
        scorers=[{"name": "exact"}],
    )
    units = gather(Log(Path("x"), manifest, tuple(bench.written), True, "d", "", 0)).units
    scores = [unit.score("exact", "candidate")[0] for unit in units.values()]
    assert len(scores) == len(plan)
    assert sum(scores) == plan.count("right")


async def test_a_log_that_cannot_be_written_ends_the_run_with_its_reason() -> None:
    """An answer that nobody keeps was paid for in vain: the other workers end, too."""

    class Full(Bench):
        def write(self, record: Record) -> None:
            raise InputError("the disk is full")

    bench = Full(right)
    with pytest.raises(InputError, match="the disk is full"):
        await bench.run(dataset(25)).execute()
    assert len(bench.bodies) <= 8
