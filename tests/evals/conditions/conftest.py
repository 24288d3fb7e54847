"""Runs whose answers took something, and the decision about them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from evals.decision import Decision
from evals.evidence import Evidence, gather
from evals.gate import decide

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FLOOR = {"metric": "exact", "test": "absolute", "at_least": 0.01}
"""A condition that nearly every run passes, for a gate needs a critical metric."""


@pytest.fixture(scope="session")
def took() -> Callable[..., Evidence]:
    """`took(run, {"s1": {"latency_s": 0.4, "cost": None}}, latency_s=0.2)`: the run with other figures on answers."""

    def change(run: Evidence, by_id: Mapping[str, Mapping[str, Any]] | None = None, **every: Any) -> Evidence:
        records = []
        for record in run.log.records:
            values = every | dict((by_id or {}).get(record.id, {}))
            answer = record.answer and msgspec.structs.replace(record.answer, **values)
            records.append(msgspec.structs.replace(record, answer=answer))
        return gather(replace(run.log, records=tuple(records)))

    return change


@pytest.fixture(scope="session")
def ask() -> Callable[..., Decision]:
    """The decision of a gate, with the clock at `NOW` unless told otherwise."""

    def decision(gate: Any, candidate: Evidence, baseline: Evidence | None = None, **options: Any) -> Decision:
        return decide(gate, candidate, baseline, **{"now": NOW, "harness": "test 1"} | options)

    return decision
