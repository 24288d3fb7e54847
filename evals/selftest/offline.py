"""A self-test on runs that exist: nothing is asked of a model."""

import random
from collections.abc import Callable, Mapping
from datetime import datetime

from evals.decision import Decision
from evals.evidence import Evidence
from evals.gate import decide
from evals.gate_config import GateConfig
from evals.judge_card import Card
from evals.selftest import drawing
from evals.selftest.tally import Tally, noise
from gateway.contracts.errors import InputError


class Offline:
    """Repetitions drawn from one A/A run. `now` and `harness` are the decisions', `cards` the judges'."""

    def __init__(
        self,
        gate: GateConfig,
        candidate: Evidence,
        baseline: Evidence | None,
        *,
        now: datetime,
        harness: str,
        cards: Mapping[str, Card],
    ) -> None:
        """Raises InputError for runs that cannot carry a verdict, whatever they are drawn into."""
        self._gate, self.left_out = drawing.statistical(gate)
        self._now, self._harness, self._cards = now, harness, cards
        compared = baseline if self._gate.needs_baseline else None
        self._source = drawing.source(candidate, compared)
        self.first = self._decide(candidate, compared)
        if self.first.problems:
            raise InputError("the runs cannot carry a verdict: " + "; ".join(self.first.problems))
        self.tally = Tally(self._gate, noise(self._gate, candidate, compared))
        self._drops = {}
        for metric in self._gate.metrics:
            at = drawing.level(self._source, metric)
            drop = None if at is None else drawing.planned_drop(metric, at)
            if at is not None and drop is not None:
                self._drops[metric.label, metric.test] = (metric, drop, drop / at)

    def _decide(self, candidate: Evidence, baseline: Evidence | None, gate: GateConfig | None = None) -> Decision:
        return decide(gate or self._gate, candidate, baseline, now=self._now, harness=self._harness, cards=self._cards)

    @property
    def shape(self) -> tuple[int, int]:
        """(samples, clusters) of a draw, about."""
        return self._source.samples, len(self._source.clusters)

    @property
    def unplanted(self) -> tuple[str, ...]:
        """The conditions in which no regression of a known size can be planted."""
        return tuple(m.label for m in self._gate.metrics if (m.label, m.test) not in self._drops)

    def repeat(self, repetitions: int, rng: random.Random, done: Callable[[], None] = lambda: None) -> Tally:
        """Draw, decide, plant, decide; `done` hears of every repetition."""
        for _ in range(repetitions):
            candidate, baseline = drawing.draw(self._source, rng)
            self.tally.add_equal(self._decide(candidate, baseline))
            for metric, drop, share in self._drops.values():
                worse = drawing.spoiled(candidate, metric, share, rng)
                told = self._decide(worse, baseline, drawing.alone(self._gate, metric))
                self.tally.add_regressed(metric, drop, told)
            done()
        return self.tally
