"""What is true of every scorer that asks nobody: whatever the text, a score in [0, 1]; the right answer scores 1."""

import time
from collections.abc import Coroutine
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evals.config import ScorerSpec
from evals.schema import Answer, Passage, Sample, Score, ToolCall, Unjudged
from evals.scorers import build
from evals.scorers.base import NoServices, Scorer

OF_TEXT: list[dict[str, Any]] = [
    {"name": "exact"},
    {"name": "squad_em"},
    {"name": "squad_f1"},
    *({"name": "rouge", "variant": v, "words": "unicode"} for v in ("rouge1", "rouge2", "rougeL", "rougeLsum")),
    {"name": "rouge", "variant": "rouge1", "stem": True},
    {"name": "bleu"},
    {"name": "bleu", "tokenize": "char", "smooth": "add-k"},
    {"name": "chrf"},
    {"name": "chrf++"},
]
OTHERS: list[dict[str, Any]] = [
    {"name": "citations"},
    {"name": "citations", "mode": "recall"},
    {"name": "quotes", "min_words": 1},
    {"name": "language", "expected": "pt"},
    {"name": "refusal", "expect": True},
    {"name": "length", "at_most": 10, "zero_at": 20},
    {"name": "tool_calls", "credit": "partial", "arguments": "subset"},
    *({"name": name} for name in ("recall_at_k", "precision_at_k", "ndcg_at_k", "mrr", "hit", "average_precision")),
]
MARKS = ["[1]", "[d12, 3]", '"a b c"', "«", "“", "...", "```", "lang:pt", "I can't", "\x00", "\ud800", "ﬁ", "İ", "👍"]
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.one_of(st.sampled_from(MARKS), st.text(max_size=8))).map(" ".join))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4), st.lists, max_leaves=4
)
SENTENCES = st.lists(st.sampled_from(["plan", "5", "free,", "côte", "x.y", "€9"]), min_size=1).map(
    lambda words: " ".join(["free", *words])
)
CALLS = st.lists(st.builds(ToolCall, st.sampled_from("fg"), st.dictionaries(st.sampled_from("ab"), JSON)), max_size=3)


def label(options: dict[str, Any]) -> str:
    return "-".join(str(value) for value in options.values())


def at_once(score: Coroutine[Any, Any, Score]) -> Score:
    """The result of a coroutine that waits for nobody."""
    try:
        score.send(None)
    except StopIteration as done:
        found: Score = done.value
        return found
    raise AssertionError("it waited")


@cache
def built(options: tuple[tuple[str, Any], ...]) -> Scorer:
    """A scorer is immutable: one will do for all examples."""
    return build(ScorerSpec.model_validate(dict(options)))


def judge(options: dict[str, Any], sample: Sample, answer: Answer) -> float | None:
    try:
        return at_once(built(tuple(options.items())).score(sample, answer, NoServices())).value
    except Unjudged:
        return None


@pytest.mark.parametrize("options", [*OF_TEXT, *OTHERS], ids=label)
@settings(max_examples=40)
@given(text=TEXTS, calls=CALLS, ids=st.none() | st.lists(st.sampled_from(["a", "a#1", "#", "1", ""])))
def test_any_answer_gets_a_score_between_0_and_1(options, text: str, calls: list[ToolCall], ids) -> None:
    passages = [Passage("a", "a b c"), *(Passage(name, text) for name in ids)] if ids is not None else None
    sample = Sample(
        id="s",
        input="q",
        reference=["the free plan", "5 GB"],
        relevant=["a", "b"],
        contexts=["one text", text],
        expected_calls=[ToolCall("f", {"a": 1})],
    )
    answer = Answer(text=text, tool_calls=calls, passages=passages, output_tokens=3)
    found = judge(options, sample, answer)
    assert found is None or 0.0 <= found <= 1.0
    assert judge(options, sample, answer) == found


@pytest.mark.parametrize("options", OF_TEXT, ids=label)
@settings(max_examples=40)
@given(text=SENTENCES, other=SENTENCES)
@example(text="the free plan", other="pro")
def test_the_reference_itself_scores_1(options: dict[str, Any], text: str, other: str) -> None:
    sample = Sample(id="s", input="q", reference=[text, other])
    assert judge(options, sample, Answer(text=text)) == pytest.approx(1.0)


# BLEU looks at all references together: its brevity penalty is that of the nearest length.
@pytest.mark.parametrize("options", [each for each in OF_TEXT if each["name"] != "bleu"], ids=label)
@settings(max_examples=40)
@given(text=TEXTS, more=SENTENCES)
def test_a_further_reference_takes_nothing_away(options: dict[str, Any], text: str, more: str) -> None:
    few = judge(options, Sample(id="s", input="q", reference=["free plan"]), Answer(text=text))
    many = judge(options, Sample(id="s", input="q", reference=["free plan", more]), Answer(text=text))
    assert many >= few - 1e-12


@pytest.mark.parametrize("options", [{"name": "exact"}, {"name": "squad_em"}, {"name": "squad_f1"}], ids=label)
def test_five_thousand_scores_take_a_moment(options: dict[str, Any]) -> None:
    scorer, answer = built(tuple(options.items())), Answer(text="The Free plan has five gigabytes.")
    samples = [Sample(id=str(i), input="q", reference=f"the free plan has {i} gigabytes") for i in range(5000)]
    times = []
    for _ in range(5):
        started = time.process_time()
        for sample in samples:
            at_once(scorer.score(sample, answer, NoServices()))
        times.append(time.process_time() - started)
    assert min(times) < 0.2, f"{min(times):.3f} s of processor time"
