import json

import pytest

from evals.asking import Request, joined
from evals.client import Result
from evals.dataset import Dataset, sample_digest, whole_digest
from evals.pacing import START
from evals.schema import Answer, Failure, Sample, ToolCall
from tests.evals.bench import Bench, dataset, right


def of(*samples: Sample) -> Dataset:
    digests = {sample.id: sample_digest(sample) for sample in samples}
    return Dataset(dataset(0).path, samples, digests, whole_digest(digests))


def talk(*turns: Result):
    """Answers turn by turn, whatever is asked."""
    left = iter(turns)
    return lambda question, attempt: next(left)


def said(text: str, **changed: object) -> Result:
    values = {"finish_reason": "stop", "input_tokens": 10, "output_tokens": 2, "latency_s": 0.5, "cost": "0.10"}
    return Result(answer=Answer(text=text, **values | changed))


THREE = Sample(id="a", input="one?", reference="3", follow_ups=["two?", "three?"])


async def test_each_answer_joins_the_messages_of_the_next_turn() -> None:
    bench = Bench(talk(said("1"), said("2"), said("3")))
    await bench.run(of(THREE), system="count").execute()
    assert [[(m["role"], m["content"]) for m in body["messages"]] for body in bench.bodies] == [
        [("system", "count"), ("user", "one?")],
        [("system", "count"), ("user", "one?"), ("assistant", "1"), ("user", "two?")],
        [
            ("system", "count"),
            ("user", "one?"),
            ("assistant", "1"),
            ("user", "two?"),
            ("assistant", "2"),
            ("user", "three?"),
        ],
    ]
    (record,) = bench.written
    assert record.outcome == "scored"
    assert record.scores["exact"].value == 1.0, "the last turn is judged"


async def test_a_conversation_is_one_answer_with_sums() -> None:
    bench = Bench(talk(said("1"), said("2", cost="0.20"), said("3", latency_s=1.5)))
    await bench.run(of(THREE)).execute()
    answer = bench.written[0].answer
    assert answer is not None
    assert (answer.text, answer.turns) == ("3", ["1", "2"])
    assert (answer.input_tokens, answer.output_tokens, answer.latency_s, answer.cost) == (30, 6, 2.5, "0.40")


@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("server_error", "system_error"), ("empty_answer", "system_error"), ("limited", "harness_error")],
)
async def test_any_turn_that_fails_decides(turn: int, kind: str, outcome: str) -> None:
    failed = Result(failure=Failure(kind, "as told"), answer=Answer())
    bench = Bench(talk(*[said(str(n)) for n in range(turn)], failed))
    await bench.run(of(THREE), max_retries=0).execute()
    (record,) = bench.written
    assert (record.outcome, record.scores, len(bench.bodies)) == (outcome, {}, turn + 1)
    assert record.failure == Failure(kind, "as told")
    if turn:
        assert record.answer is not None
        assert record.answer.turns == [str(n) for n in range(turn)]
        assert record.answer.input_tokens == 10 * turn, "the turns that were answered were paid for"


async def test_only_the_turn_that_failed_is_tried_again() -> None:
    busy = Result(failure=Failure("limited", "429"), retryable=True)
    bench = Bench(talk(said("1"), busy, busy, said("2"), said("3")))
    await bench.run(of(THREE)).execute()
    (record,) = bench.written
    assert (record.outcome, record.attempts, len(bench.bodies)) == ("scored", 3, 5)


async def test_the_calls_of_a_turn_stand_in_the_next_as_text() -> None:
    call = ToolCall("weather", {"city": "Rome"})
    bench = Bench(talk(said("", tool_calls=[call]), said("2"), said("3")))
    await bench.run(of(THREE)).execute()
    assert json.loads(bench.bodies[1]["messages"][1]["content"]) == {"name": "weather", "arguments": {"city": "Rome"}}


async def test_tools_go_into_the_body_and_only_where_there_are_some() -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    bench = Bench(right)
    await bench.run(of(Sample(id="a", input="question 0", tools=tools), Sample(id="b", input="question 1"))).execute()
    assert [body.get("tools") for body in bench.bodies] == [tools, None]


@pytest.mark.parametrize("field", ["input_tokens", "output_tokens", "cost"])
def test_a_sum_with_an_unknown_part_is_unknown(field: str) -> None:
    known = Answer(input_tokens=1, output_tokens=1, cost="1", finish_reason="stop")
    unknown = Answer(**{"input_tokens": 1, "output_tokens": 1, "cost": "1", "finish_reason": "stop", field: None})
    found = joined([known, unknown], known)
    assert found is not None
    assert getattr(found, field) is None


def test_turns_of_two_releases_name_none() -> None:
    one, two = (Answer(release=f"faq@{n}", release_digest=f"sha256:{n}", finish_reason="stop") for n in (1, 2))
    found = joined([one], two)
    assert found is not None
    assert (found.release, found.release_digest) == (None, None)
    same = joined([one], one)
    assert same is not None
    assert same.release == "faq@1"


def test_with_one_turn_from_the_cache_the_conversation_is() -> None:
    found = joined([Answer(cached=True, finish_reason="stop")], Answer(latency_s=2.0, cost="1", finish_reason="stop"))
    assert found is not None
    assert (found.cached, found.latency_s, found.cost) == (True, 0.0, None)


@pytest.mark.parametrize(
    ("failure", "slower"),
    [
        (Failure("limited", "429: too many"), True),
        (Failure("timeout", "no answer within 60 s"), True),
        (Failure("server_error", "503 overloaded: try later"), True),
        (Failure("server_error", "500: broken"), False),
        (Failure("unreachable", "ClientError"), False),
    ],
)
async def test_too_many_requests_slow_the_run_down_and_broken_ones_do_not(failure: Failure, slower: bool) -> None:
    bench = Bench(lambda question, attempt: Result(failure=failure, retryable=True))
    run = bench.run(dataset(1), concurrency=64, max_retries=0)
    await run.execute()
    assert run.pace.limit == (START // 2 if slower else START)


async def test_a_run_speeds_up_to_what_was_asked_for_and_no_further() -> None:
    bench = Bench(right)
    run = bench.run(dataset(400), concurrency=40)
    await run.execute()
    assert (run.pace.limit, bench.most_under_way) == (40, 40)


async def test_the_others_wait_when_one_is_told_to() -> None:
    """One worker hears Retry-After; the requests of all of them come after it."""
    sent: list[float] = []

    def answers(question: str, attempt: int) -> Result:
        sent.append(bench.now)
        if len(sent) == 1:
            return Result(failure=Failure("limited", "429"), retryable=True, retry_after=50.0)
        return right(question, attempt)

    bench = Bench(answers)
    await bench.run(dataset(30), concurrency=2).execute()
    assert sent[0] == 0.0
    assert all(at >= 50.0 for at in sent[2:]), "one more may have been under way"


def test_a_request_names_its_arms() -> None:
    both = Request("new", {}, baseline="old")
    assert (both.arms(), both.asked("candidate"), both.asked("baseline")) == (("candidate", "baseline"), "new", "old")
    assert Request("new", {}).arms() == ("candidate",)
    assert json.loads(both.body([], 0, "baseline"))["model"] == "old"
