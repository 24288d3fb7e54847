"""Traces: what is read, what is refused, and that nothing is lost between."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import DocumentError
from gateway.simulation import traces
from gateway.simulation.traces import Arrival
from gateway.simulation.workloads import llm_d

MOONCAKE = '{"timestamp": 27482, "input_length": 1300, "output_length": 52, "hash_ids": [46, 47, 2353]}'


def _line(**fields: Any) -> str:
    return json.dumps({"timestamp": 0, "input_length": 1024, "output_length": 5, "hash_ids": [1, 2], **fields})


def _mistakes(*lines: str) -> list[tuple[int, str]]:
    with pytest.raises(DocumentError) as caught:
        traces.parse(lines, "trace.jsonl")
    return [(each.line, each.message) for each in caught.value.mistakes]


def test_a_line_of_mooncake() -> None:
    (found,) = traces.parse([MOONCAKE], "trace.jsonl")
    assert found == Arrival(at=0.0, input_tokens=1300, output_tokens=52, blocks=(46, 47), block_tokens=512)


def test_a_line_with_all_that_it_may_add() -> None:
    fields = {"tenant": "9f", "model": "faq", "class": "batch", "priority": -10, "block_tokens": 128}
    (found,) = traces.parse([_line(**fields)], "trace.jsonl")
    assert found == Arrival(0.0, 1024, 5, (1, 2), 128, "9f", "faq", "batch", -10)


def test_times_start_at_the_first_one_and_come_in_order() -> None:
    found = traces.parse([_line(timestamp=3000), "", _line(timestamp=1000.5), _line(timestamp=2000)], "trace.jsonl")
    assert [each.at for each in found] == pytest.approx([0.0, 0.9995, 1.9995])


def test_every_mistake_is_told_with_its_line() -> None:
    found = _mistakes(MOONCAKE, "{", _line(input_length=0), _line(output_length="many"), _line(text="hello"))
    assert [line for line, _ in found] == [2, 3, 4, 5]
    told = [message for _, message in found]
    assert "`int` >= 1" in told[1]
    assert "$.output_length" in told[2]
    assert "`text`" in told[3]
    assert "hash_ids, tenant, model, class, priority, block_tokens" in told[3]


@pytest.mark.parametrize("timestamp", [1.1e13, 1.7e15, 1e300])
def test_a_time_that_is_none_in_milliseconds_is_a_mistake(timestamp: float) -> None:
    ((line, message),) = _mistakes(_line(timestamp=1.7e12), _line(timestamp=timestamp))
    assert line == 2
    assert "in milliseconds, at most 10,000,000,000,000, found" in message


@pytest.mark.parametrize("timestamp", ["1e400", "NaN", "Infinity", "-1"])
def test_a_time_that_is_no_number_is_a_mistake(timestamp: str) -> None:
    ((line, _),) = _mistakes(MOONCAKE.replace("27482", timestamp))
    assert line == 1


def test_more_hashes_than_the_prompt_has_blocks_are_a_mistake() -> None:
    ((line, message),) = _mistakes(_line(hash_ids=[1, 2, 3]))
    assert line == 1
    assert "at most 2 hash_ids, one for each 512 of 1024 tokens, found 3" in message
    assert "block_tokens" in message


def test_a_file_of_mistakes_is_not_read_to_its_end() -> None:
    assert len(_mistakes(*["nonsense"] * 100)) == traces.MOST_MISTAKES


def test_a_trace_without_requests_is_a_mistake() -> None:
    assert _mistakes("", " ") == [(1, "expected one JSON object a line, found none")]


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no such file"):
        traces.read(tmp_path / "trace.jsonl")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    made = llm_d(Random(1), 20.0, 2.0)
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f"{line}\n" for line in traces.lines(made)))
    found = traces.read(path)
    assert [each.blocks for each in found] == [each.blocks for each in made]
    assert [each.tenant for each in found] == [each.tenant for each in made]
    assert [each.at for each in found] == pytest.approx([each.at - made[0].at for each in made], abs=0.001)


@given(st.text(max_size=80))
def test_no_line_is_left_out(line: str) -> None:
    """It is empty, a request, or a mistake."""
    told = 0
    try:
        told = len(traces.parse([MOONCAKE, line], "trace.jsonl")) - 1
    except DocumentError as error:
        told = len(error.mistakes)
    assert told == int(bool(line.strip()))
