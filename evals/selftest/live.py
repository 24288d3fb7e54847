"""A self-test with fresh answers: one model in both arms, asked anew for every repetition through the real runner.

Each repetition leaves its log in a folder; a self-test that stopped goes on where it was.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from evals import run_log, scorers
from evals.composition import Plan, Watch, execute, harness, outside_of
from evals.equipment import equipped
from evals.evidence import Evidence, gather
from evals.gate import decide
from evals.gate_config import GateConfig
from evals.judge_card import Card
from evals.selftest import drawing, swapping
from evals.selftest.tally import Tally, noise
from gateway.contracts.errors import InputError


@dataclass(frozen=True, slots=True)
class Setup:
    """What a live self-test needs. `plan` asks the model under test; `broken` names a worse one, None swaps answers."""

    gate: GateConfig
    plan: Plan
    folder: Path
    seed: int
    say: Callable[[str], None]
    progress: Watch
    now: datetime
    cards: Mapping[str, Card] = field(default_factory=dict)
    broken: str | None = None

    def checked(self) -> "Setup":
        """The same with both arms named, and without a seed, by which both would say the same.

        Raises InputError before anything is asked where the gate is not about this suite and its data.
        """
        gate, plan = self.gate, self.plan
        found, wanted = (plan.suite.suite, plan.data.digest), (gate.suite, gate.dataset_sha256)
        if found != wanted:
            raise InputError(
                f"the gate is for suite {wanted[0]!r} and data set {wanted[1]}, found {found[0]!r} and {found[1]}: "
                "take the suite that the gate names"
            )
        params = {key: value for key, value in plan.suite.params.items() if key != "seed"}
        if params != plan.suite.params:
            self.say("the suite's seed is left out: with it both arms would draw the same answers")
        target = replace(plan.target, baseline=plan.target.model if gate.needs_baseline else None)
        changed = replace(plan, suite=plan.suite.model_copy(update={"params": params}), target=target)
        return replace(self, plan=changed, gate=drawing.statistical(gate)[0])


async def repeated(setup: Setup, repetitions: int) -> Tally:
    """Ask, decide, plant, decide, so many times. Raises InputError for runs that cannot carry a verdict."""
    setup = setup.checked()
    async with equipped(setup.plan.suite, setup.plan.folder, outside_of(setup.plan.target, setup.say)) as equipment:
        built = scorers.build_all(setup.plan.suite.scorers)
        rng = random.Random(setup.seed)  # noqa: S311 - a simulation, no secret
        swapped = swapping.Swapped(setup.plan.data, built, equipment.services, rng)
        live = _Live(setup, swapped if setup.broken is None else swapping.Broken(await _broken(setup)), rng)
        for number in range(1, repetitions + 1):
            setup.say(f"repetition {number} of {repetitions}")
            await live.repeat(number)
    return live.tally


class _Live:
    def __init__(self, setup: Setup, replaces: swapping.Replaces, rng: random.Random) -> None:
        self.tally = Tally(setup.gate)
        self._setup, self._replaces, self._rng = setup, replaces, rng
        self._shares: dict[tuple[str, str], tuple[float, float]] | None = None

    async def repeat(self, number: int) -> None:
        setup = self._setup
        candidate, baseline = await _both(setup, setup.folder / f"{number:03}.jsonl")
        decision = decide(setup.gate, candidate, baseline, now=setup.now, harness=harness(), cards=setup.cards)
        refused = [f"{result.metric}: {result.reason}" for result in decision.metrics if result.verdict == "invalid"]
        if decision.problems or refused:  # no repetition would change that, and each costs money
            why = "; ".join([*decision.problems, *refused])
            raise InputError(f"repetition {number} cannot carry a verdict: {why}")
        self.tally.add_equal(decision)
        draws = swapping.drawn(candidate, self._rng)
        if self._shares is None:
            self.tally.noise = noise(setup.gate, candidate, baseline)
            others = await self._replaces.replacements(candidate, draws, 1.0)
            self._shares = self._measured(candidate, others)
        else:
            most = max((share for _, share in self._shares.values()), default=0.0)
            others = await self._replaces.replacements(candidate, draws, most)
        for metric in setup.gate.metrics:
            if (metric.label, metric.test) in self._shares:
                drop, share = self._shares[metric.label, metric.test]
                worse = swapping.planted(candidate, others, metric, draws, share)
                gate = drawing.alone(setup.gate, metric)
                told = decide(gate, worse, baseline, now=setup.now, harness=harness(), cards=setup.cards)
                self.tally.add_regressed(metric, drop, told)

    def _measured(self, run: Evidence, others: swapping.Replacements) -> dict[tuple[str, str], tuple[float, float]]:
        """By condition, (drop, the share of answers that makes it), from the first repetition."""
        found: dict[tuple[str, str], tuple[float, float]] = {}
        origin = drawing.source(run, None)
        for metric in self._setup.gate.metrics:
            at = drawing.level(origin, metric)
            drop = None if at is None else drawing.planned_drop(metric, at)
            share = None if drop is None else swapping.share_of(run, others, metric, drop)
            if drop is not None and share is not None:
                found[metric.label, metric.test] = (drop, share)
                self._setup.say(f"{metric.label}: {share:.2%} of other answers make a regression of {drop:.4g}")
            else:
                self._setup.say(f"{metric.label}: no regression of a known size can be planted here")
        return found


async def _both(setup: Setup, path: Path) -> tuple[Evidence, Evidence | None]:
    log = await _log(setup, setup.plan, path)
    return gather(log), gather(log, "baseline") if log.manifest.baseline is not None else None


async def _broken(setup: Setup) -> Evidence:
    target = replace(setup.plan.target, model=str(setup.broken), baseline=None)
    setup.say(f"asking {setup.broken!r} once for every sample")
    return gather(await _log(setup, replace(setup.plan, target=target), setup.folder / "broken.jsonl"))


async def _log(setup: Setup, plan: Plan, path: Path) -> run_log.Log:
    await execute(plan, path, setup.say, setup.progress)
    return run_log.read(path)
