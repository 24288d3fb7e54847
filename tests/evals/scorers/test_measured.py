from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import NoServices, Scorer
from evals.scorers.measured import Cost, Latency, Length

SAMPLE = Sample(id="a", input="q")


async def value(scorer: Scorer, **answer: object) -> float:
    return (await scorer.score(SAMPLE, Answer(**answer), NoServices())).value


@pytest.mark.parametrize(
    ("zero_at", "seconds", "expected"),
    [(None, 2.0, 1.0), (None, 2.001, 0.0), (10, 2.0, 1.0), (10, 4.0, 0.75), (10, 10.0, 0.0), (10, 99.0, 0.0)],
)
async def test_latency(zero_at: float | None, seconds: float, expected: float) -> None:
    assert await value(Latency(at_most_s=2, zero_at_s=zero_at), latency_s=seconds) == expected


@pytest.mark.parametrize(
    ("zero_at", "cost", "expected"),
    [
        (None, "0.1", 1.0),
        (None, "0.1000000000000000000001", 0.0),
        (None, "0", 1.0),
        ("0.3", "0.2", 0.5),
        ("0.3", "1e400", 0.0),
    ],
)
async def test_cost_is_exact(zero_at: str | None, cost: str, expected: float) -> None:
    scorer = Cost.model_validate({"at_most_usd": 0.1, "zero_at_usd": zero_at})
    assert scorer.at_most_usd == Decimal("0.1")
    assert await value(scorer, cost=cost) == expected


@pytest.mark.parametrize("scorer", [Latency(at_most_s=1), Cost(at_most_usd=Decimal(1))])
async def test_what_came_out_of_a_cache_says_nothing(scorer: Scorer) -> None:
    with pytest.raises(Unjudged, match="out of a cache") as failed:
        await value(scorer, latency_s=0.1, cost="0.1", cached=True)
    assert failed.value.kind == "not_measured"


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
async def test_a_latency_that_was_not_taken_is_missing(seconds: float) -> None:
    with pytest.raises(Unjudged, match="carries no latency") as failed:
        await value(Latency(at_most_s=1), latency_s=seconds)
    assert failed.value.kind == "not_measured"


@pytest.mark.parametrize("cost", [None, "", "free", "NaN", "-0.1", "Infinity"])
async def test_a_missing_cost_is_never_cheap(cost: str | None) -> None:
    with pytest.raises(Unjudged, match="carries no cost") as failed:
        await value(Cost(at_most_usd=Decimal(1)), cost=cost)
    assert failed.value.kind == "not_measured"


@pytest.mark.parametrize(
    ("options", "answer", "expected"),
    [
        ({"at_most": 5}, {"text": " hello\n"}, 1.0),
        ({"at_most": 4}, {"text": "hello"}, 0.0),
        ({"at_most": 4, "zero_at": 6}, {"text": "hello"}, 0.5),
        ({"at_least": 6}, {"text": "hello"}, 0.0),
        ({"at_least": 5, "at_most": 5}, {"text": "hello"}, 1.0),
        ({"at_most": 2, "unit": "words"}, {"text": "one two"}, 1.0),
        ({"at_most": 1, "unit": "words"}, {"text": "one two"}, 0.0),
        ({"at_most": 9, "unit": "tokens"}, {"text": "x" * 99, "output_tokens": 9}, 1.0),
        ({"at_most": 9, "unit": "tokens"}, {"text": "x", "output_tokens": 10, "cached": True}, 0.0),
    ],
)
async def test_length(options: dict[str, object], answer: dict[str, object], expected: float) -> None:
    assert await value(Length.model_validate(options), **answer) == expected


async def test_tokens_that_nobody_counted_are_missing() -> None:
    with pytest.raises(Unjudged, match="did not count") as failed:
        await value(Length(at_most=5, unit="tokens"), text="x")
    assert failed.value.kind == "not_measured"


async def test_the_explanation_is_the_figure() -> None:
    services = NoServices()
    assert await Latency(at_most_s=1).score(SAMPLE, Answer(latency_s=0.25), services) == Score(1.0, "0.25 s")
    assert await Cost(at_most_usd=Decimal(1)).score(SAMPLE, Answer(cost="0.0020"), services) == Score(1.0, "0.0020 USD")
    assert await Length(at_most=1).score(SAMPLE, Answer(text="abc"), services) == Score(0.0, "3 characters")


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        (Latency, {}, "at_most_s"),
        (Latency, {"at_most_s": 0}, "greater than 0"),
        (Latency, {"at_most_s": 2, "zero_at_s": 2}, r"zero_at_s: expected more than at_most_s \(2.0\), found 2.0"),
        (Cost, {"at_most_usd": -1}, "greater than or equal to 0"),
        (Cost, {"at_most_usd": "NaN"}, "finite"),
        (Cost, {"at_most_usd": 2, "zero_at_usd": 1}, "zero_at_usd: expected more than"),
        (Length, {}, "nothing is asked for"),
        (Length, {"at_least": 5, "zero_at": 9}, "there is none"),
        (Length, {"at_least": 5, "at_most": 4}, "no answer could pass"),
        (Length, {"at_most": 5, "zero_at": 5}, "zero_at: expected more than"),
    ],
)
def test_wrong_options_are_refused(kind: type[Scorer], options: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        kind.model_validate(options)


@given(faster=st.floats(0.001, 20), slower=st.floats(0.001, 20))
async def test_slower_is_never_better(faster: float, slower: float) -> None:
    scorer = Latency(at_most_s=2, zero_at_s=10)
    best, worst = await value(scorer, latency_s=min(faster, slower)), await value(scorer, latency_s=max(faster, slower))
    assert 0.0 <= worst <= best <= 1.0
