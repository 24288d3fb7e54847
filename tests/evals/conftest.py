"""Builders of evidence: a run is described by its scores, and becomes a log in memory or on disk."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evals import dataset, run_log
from evals.evidence import Evidence, gather
from evals.gate_config import GateConfig, MetricConfig
from evals.lines import Manifest, Record
from evals.schema import Answer, Failure, Score
from gateway.contracts import canonical

Value = float | str
"""A score, or `system`, or `missing`."""


def _record(sample_id: str, epoch: int, value: Value, release: str, about: Mapping[str, Any]) -> Record:
    answer = Answer(
        text="x",
        finish_reason="stop",
        input_tokens=10,
        output_tokens=5,
        fingerprint="engine-1",
        latency_s=0.1,
        release=release,
        release_digest=canonical.digest(release),
        cost="0.001",
    )
    shared = {
        "id": sample_id,
        "digest": canonical.digest(sample_id),
        "epoch": epoch,
        "cluster": about["clusters"].get(sample_id),
        "tags": list(about["tags"].get(sample_id, [])),
    }
    if value == "missing":
        return Record(**shared, outcome="harness_error", failure=Failure("timeout", "no answer within 60 s"))
    if value == "system":
        return Record(**shared, outcome="system_error", failure=Failure("server_error", "502"), answer=answer)
    return Record(**shared, outcome="scored", scores={"exact": Score(float(value))}, answer=answer)


def _records(scores: Mapping[str, Value | list[Value]], release: str, about: Mapping[str, Any]) -> list[Record]:
    listed = {key: value if isinstance(value, list) else [value] for key, value in scores.items()}
    return [_record(key, e, value, release, about) for key, values in listed.items() for e, value in enumerate(values)]


def _manifest(scores: Mapping[str, Value | list[Value]], **changed: Any) -> Manifest:
    epochs = {len(value) if isinstance(value, list) else 1 for value in scores.values()} or {1}
    values: dict[str, Any] = {
        "suite": "faq",
        "suite_digest": canonical.digest("faq"),
        "dataset": "faq.jsonl",
        "dataset_sha256": dataset.whole_digest({key: canonical.digest(key) for key in scores}),
        "samples": len(scores),
        "epochs": epochs.pop(),
        "model": "faq@2",
        "params": {"temperature": 0},
        "system": None,
        "scorers": [{"name": "exact"}],
    }
    return Manifest(**values | changed)


@pytest.fixture(scope="session")
def make_evidence() -> Callable[..., Evidence]:
    """Evidence in memory: `make_evidence({"a": 1.0, "b": "missing"}, release="faq@2", clusters=..., tags=...)`."""

    def make(
        scores: Mapping[str, Value | list[Value]],
        *,
        release: str = "faq@2",
        clusters: Mapping[str, str] | None = None,
        tags: Mapping[str, list[str]] | None = None,
        sealed: bool = True,
        reverse: bool = False,
        **manifest: Any,
    ) -> Evidence:
        records = _records(scores, release, {"clusters": clusters or {}, "tags": tags or {}})
        if reverse:
            records.reverse()
        made, name = _manifest(scores, **manifest), release.replace("@", "-")
        digest = canonical.digest([release, repr(scores)])
        return gather(run_log.Log(Path(f"{name}.jsonl"), made, tuple(records), sealed, digest, "", 0))

    return make


@pytest.fixture(scope="session")
def make_log() -> Callable[..., Path]:
    """A log on disk: `make_log(path, {"a": 1.0}, release="faq@2")`."""

    def make(
        path: Path,
        scores: Mapping[str, Value | list[Value]],
        *,
        release: str = "faq@2",
        clusters: Mapping[str, str] | None = None,
        tags: Mapping[str, list[str]] | None = None,
        seal: bool = True,
        **manifest: Any,
    ) -> Path:
        with run_log.Writer(path, _manifest(scores, **manifest)) as writer:
            for record in _records(scores, release, {"clusters": clusters or {}, "tags": tags or {}}):
                writer.write(record)
            if seal:
                writer.seal()
        return path

    return make


@pytest.fixture(scope="session")
def make_arms() -> Callable[..., Path]:
    """A log of two arms on disk: `make_arms(path, candidate_scores, baseline_scores)`; faq@2 beside faq@1."""

    def make(
        path: Path,
        candidate: Mapping[str, Value | list[Value]],
        baseline: Mapping[str, Value | list[Value]],
        **manifest: Any,
    ) -> Path:
        about: dict[str, Any] = {"clusters": {}, "tags": {}}
        with run_log.Writer(path, _manifest(candidate, baseline="faq@1", **manifest)) as writer:
            for record in _records(candidate, "faq@2", about):
                writer.write(record)
            for record in _records(baseline, "faq@1", about):
                writer.write(msgspec.structs.replace(record, arm="baseline"))
            writer.seal()
        return path

    return make


@pytest.fixture(scope="session")
def make_gate() -> Callable[..., GateConfig]:
    """A gate for the data set of a run; without a plan, and content with two clusters, unless told otherwise."""

    def make(run: Evidence, *metrics: dict[str, Any], **changed: Any) -> GateConfig:
        values: dict[str, Any] = {
            "gate": "release",
            "suite": run.log.manifest.suite,
            "dataset_sha256": run.log.manifest.dataset_sha256,
            "min_clusters": 2,
            "min_coverage": 0.5,
            "metrics": tuple(MetricConfig(**metric) for metric in metrics),
        }
        return GateConfig(**values | changed)

    return make


@pytest.fixture(scope="session")
def retold() -> Callable[..., Evidence]:
    """`retold(evidence, text=..., explanation=..., **answer)`: the same scores with other answers and reasons."""

    def change(run: Evidence, *, explanation: str = "", votes: list[float] | None = None, **answer: Any) -> Evidence:
        def one(record: Any) -> Any:
            told = msgspec.structs.replace(record.answer or Answer(), **answer)
            scores = {name: Score(score.value, explanation, votes or []) for name, score in record.scores.items()}
            return msgspec.structs.replace(record, scores=scores, answer=told if record.answer else None)

        for key, unit in run.units.items():
            run.units[key] = type(unit)(unit.id, unit.cluster, unit.tags, tuple(map(one, unit.records)), unit.epochs)
        return run

    return change
