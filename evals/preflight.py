"""A run that is made for a gate, checked before the first request: what would make every verdict of it worthless.

    evals run suite.yaml --gate gate.yaml --model faq@2 --baseline faq@1

Money is spent on a run only if the gate could say something about it: its suite, its data, its metrics, its judges, and
a power that was planned. What only the answers can show (who answers, coverage) is left to the gate itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from evals import gate_plan, judge_floor, judges
from evals.config import SuiteConfig
from evals.dataset import Dataset
from evals.gate_config import GateConfig
from evals.judge_card import Card
from evals.judge_floor import Judges


@dataclass(frozen=True, slots=True)
class Intent:
    """How a run is meant to be made: whether a baseline is asked beside the candidate, how many samples at most, and
    whether answers may come from a cache."""

    baseline: bool
    limit: int | None = None
    cached: bool = False


def refusals(
    gate: GateConfig, suite: SuiteConfig, data: Dataset, intent: Intent, cards: Mapping[str, Card], now: datetime
) -> tuple[str, ...]:
    """Why a run would be wasted, in sentences for people; empty when nothing speaks against it.

    `data` is the suite's data set or the split of it, `cards` are the judges' (`judge_floor.load_cards`).
    """
    return (
        *_of_data(gate, suite, data),
        *_of_intent(gate, data, intent),
        *_of_metrics(gate, suite),
        *judge_floor.problems_of(gate, [Judges(judges.digests(suite), suite.scorer_dicts())], cards, now),
        *(gate_plan.of_dataset(gate, data).refused if data.digest == gate.dataset_sha256 else ()),
    )


def _of_data(gate: GateConfig, suite: SuiteConfig, data: Dataset) -> Iterator[str]:
    if suite.suite != gate.suite:
        yield f"the gate is of suite {gate.suite!r}, and this is {suite.suite!r}"
    if gate.split not in (None, suite.split):
        yield f"the gate is for the split {gate.split!r}, and the suite uses {suite.split or 'no split'}"
    if data.digest != gate.dataset_sha256:
        yield f"the gate is for data set {gate.dataset_sha256}, and {data.path.name!r} is {data.digest}"


def _of_intent(gate: GateConfig, data: Dataset, intent: Intent) -> Iterator[str]:
    if gate.needs_baseline and not intent.baseline:
        yield "the gate compares with a baseline: name the release that is live with --baseline"
    if intent.limit is not None and intent.limit < len(data.samples):
        yield f"--limit {intent.limit} makes a partial run, which every gate refuses: leave it out"
    if intent.cached and gate.cached == "refuse":
        yield "--cache may answer from an earlier run, which the gate refuses: leave it out, or write `cached: allow`"


def _of_metrics(gate: GateConfig, suite: SuiteConfig) -> Iterator[str]:
    known = [spec.metric for spec in suite.scorers]
    for name in sorted(gate.scores()):
        if name not in known:
            yield f"the suite has no metric {name!r}: it has {', '.join(known)}"
