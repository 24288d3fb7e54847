"""What a gate said in many repetitions, how often it may say so, and whether that holds.

A rate is held against its limit with three binomial standard errors of the limit to spare, so that a right gate is
called wrong about once in 700 rates.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from evals import compare, stats
from evals.classical.proportions import Interval, clopper_pearson
from evals.decision import Decision
from evals.evidence import Evidence
from evals.gate_config import GateConfig, MetricConfig
from gateway.contracts.verdict import Answer

ANSWERS: tuple[Answer, ...] = ("pass", "fail", "inconclusive", "invalid")
SPARE = 3.0
THE_GATE = "the gate"
Truth = Literal["equal", "regressed"]
Finding = Literal["", "false pass", "false fail", "little power"]


@dataclass(slots=True)
class Row:
    """One condition under one truth: how often it got each answer. `drop` is the planted regression, 0 for none.

    `most_pass`, `least_pass` and `most_fail` are the limits, None where there is none. `reasons` counts why it did not
    pass.
    """

    truth: Truth
    condition: str
    test: str
    drop: float = 0.0
    most_pass: float | None = None
    least_pass: float | None = None
    most_fail: float | None = None
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def repetitions(self) -> int:
        """How many answers were counted."""
        return self.counts.total()

    def add(self, answer: str, reason: str) -> None:
        """Count one answer."""
        self.counts[answer] += 1
        if answer != "pass":
            self.reasons[reason] += 1

    def rate(self, answer: str) -> float:
        """The share of an answer; 0 before the first."""
        return self.counts[answer] / self.repetitions if self.repetitions else 0.0

    def interval(self, answer: str) -> Interval | None:
        """Clopper and Pearson's 95 % interval of the rate."""
        return clopper_pearson(self.counts[answer], self.repetitions)

    def finding(self) -> Finding:
        """What is wrong, if anything."""
        if self.most_pass is not None and self.rate("pass") > self.most_pass + self._spare(self.most_pass):
            return "false pass"
        if self.most_fail is not None and self.rate("fail") > self.most_fail + self._spare(self.most_fail):
            return "false fail"
        if self.least_pass is not None and self.rate("pass") < self.least_pass - self._spare(self.least_pass):
            return "little power"
        return ""

    def _spare(self, limit: float) -> float:
        return SPARE * math.sqrt(limit * (1.0 - limit) / max(1, self.repetitions))


@dataclass(slots=True)
class Tally:
    """All rows of a self-test, by (condition, test) in the order of the gate, the gate itself first.

    `noise` is by condition what the difference of two equal arms shows, to hold against what the gate planned with.
    """

    gate: GateConfig
    noise: dict[str, stats.Spread] = field(default_factory=dict)
    equal: dict[tuple[str, str], Row] = field(default_factory=dict)
    regressed: dict[tuple[str, str], Row] = field(default_factory=dict)

    def add_equal(self, decision: Decision) -> None:
        """Count what the gate said of A against A: the whole, and every condition."""
        whole = self.equal.setdefault((THE_GATE, ""), Row("equal", THE_GATE, ""))
        whole.add(decision.answer, decision.reason)
        for result in decision.metrics:
            row = self.equal.setdefault((result.metric, result.test), self._row(result.metric, result.test))
            row.add(result.verdict, result.reason)

    def _row(self, label: str, test: str) -> Row:
        design = self.gate.design
        if test != "noninferior":
            return Row("equal", label, test)  # what the truth is about a floor is not known
        declared = any((metric.label, metric.test) == (label, test) for metric in self.gate.metrics)
        # A slice has what power it has: none was asked for.
        return Row("equal", label, test, least_pass=design.power if declared else None, most_fail=design.alpha)

    def add_regressed(self, metric: MetricConfig, drop: float, decision: Decision) -> None:
        """Count what one condition said of a regression by `drop`, exactly at the edge of what it allows."""
        key = metric.label, metric.test
        if key not in self.regressed:
            alpha = self.gate.design.alpha
            self.regressed[key] = Row("regressed", metric.label, metric.test, drop, most_pass=alpha)
        for result in decision.metrics:
            if (result.metric, result.test) == key:
                self.regressed[key].add(result.verdict, result.reason)

    def rows(self) -> tuple[Row, ...]:
        """A against A first."""
        return (*self.equal.values(), *self.regressed.values())

    def flips(self) -> dict[str, float]:
        """Of A against A: how often it fails, two repetitions contradict each other (pass, fail), and differ at all."""
        whole = self.equal[THE_GATE, ""]
        return {
            "fail": whole.rate("fail"),
            "contradict": unlike(whole.counts, (("pass", "fail"),)),
            "differ": unlike(whole.counts, [(a, b) for at, a in enumerate(ANSWERS) for b in ANSWERS[at + 1 :]]),
        }

    def exit_code(self) -> int:
        """0: as often wrong as the gate says; 1: more often; 2: not wrong, and too weak to pass what is equal."""
        found = {row.finding() for row in self.rows()}
        return 1 if found & {"false pass", "false fail"} else 2 if "little power" in found else 0


def noise(gate: GateConfig, candidate: Evidence, baseline: Evidence | None) -> dict[str, stats.Spread]:
    """Standard deviation and design effect of each margin's difference, where the arms differ at all."""
    found: dict[str, stats.Spread] = {}
    for metric in gate.metrics:
        if metric.test == "noninferior" and baseline is not None:
            measure = compare.paired(candidate, baseline, metric.metric, alpha=gate.design.alpha, tag=metric.tag)
            if measure is not None and measure.spread is not None:
                found[metric.label] = measure.spread
    return found


def unlike(counts: Mapping[str, int], pairs: Iterable[tuple[str, str]]) -> float:
    """The chance that two different repetitions got one of these pairs of answers."""
    total = sum(counts.values())
    if total < 2:
        return 0.0
    return sum(counts.get(a, 0) * counts.get(b, 0) for a, b in pairs) / math.comb(total, 2)
