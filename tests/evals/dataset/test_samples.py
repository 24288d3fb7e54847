import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given

from evals.dataset.samples import is_set, parse, sample_digest, unit
from evals.schema import Sample
from gateway.contracts import canonical

sys.path.insert(0, str(Path(__file__).parent))
from strategies import SAMPLES

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@given(samples=SAMPLES)
def test_the_fast_digest_is_the_canonical_one(samples: list[Sample]) -> None:
    always = {"id", "input", "reference", "tags", "cluster"}
    for sample in samples:
        fields: dict[str, Any] = msgspec.to_builtins(sample)
        kept = {key: value for key, value in fields.items() if key in always or is_set(key, value)}
        assert sample_digest(sample) == canonical.digest(kept)


@pytest.mark.parametrize(
    "more",
    [
        {"follow_ups": ["And then?"]},
        {"tools": [TOOL], "expected_calls": [{"name": "f", "arguments": {"x": 1}}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"expected_calls": [{"name": "offered elsewhere"}]},
        {"expected_calls": []},
        {"relevant": ["d1", "d2"]},
        {"relevant": {"d1": 0.5}},
        {"contexts": []},
    ],
)
def test_what_a_sample_may_have(more: dict[str, Any]) -> None:
    assert parse({"id": "a", "input": "x", **more}).id == "a"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"follow_ups": [" "]}, "follow_ups: expected what the user says next"),
        (
            {"input": [{"role": "assistant", "content": "x"}], "follow_ups": ["y"]},
            "expected input to end with the user's message, found 'assistant'",
        ),
        ({"tools": [{"type": "function"}]}, r"tools[0]: expected"),
        ({"tools": [{"function": {"name": "f"}}]}, r"tools[0]: expected"),
        ({"tools": [{"type": "function", "function": "f"}]}, r"tools[0]: expected"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, r"tools[0]: expected"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "parameters of 'f'"),
        ({"tools": [TOOL, TOOL]}, "tools[1]: a second tool is called 'f'"),
        ({"tools": [TOOL], "expected_calls": [{"name": "g"}]}, "expected_calls[0]: no tool 'g': the tools are f"),
        ({"expected_calls": [{"name": ""}]}, "expected_calls[0]: name is empty"),
        ({"expected_calls": [{"name": "f", "args": {}}]}, "args"),
        ({"relevant": []}, "relevant is empty"),
        ({"relevant": {}}, "relevant is empty"),
        ({"relevant": [""]}, "expected the id of a document"),
        ({"relevant": ["d", "d"]}, "a document is named twice"),
        ({"relevant": {"d": 0}}, "relevant['d']: expected a grade above 0, found 0.0"),
        ({"relevant": {"d": float("inf")}}, "expected a grade above 0, found inf"),
        ({"contexts": ["a", " "]}, "contexts[1]: expected a passage"),
        ({"tags": [""]}, "tags: one of them is empty"),
    ],
)
def test_what_a_sample_may_not_have(more: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse({"id": "a", "input": "x", **more})
    assert expected in str(caught.value)


def test_a_sample_without_a_cluster_is_one_of_its_own() -> None:
    alone, named = Sample(id="a", input="x"), Sample(id="b", input="x", cluster="a")
    assert unit(alone) != unit(named)


def test_a_part_has_a_digest_of_its_own(data) -> None:
    whole = data({"id": "a", "input": "x"}, {"id": "b", "input": "y"})
    part = whole.only(["b", "none"])
    assert [sample.id for sample in part.samples] == ["b"]
    assert part.digest == data({"id": "b", "input": "y"}, name="b.jsonl").digest
