"""A report's content: everything that runs, data set and decision have to say, as one `Page`."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from evals import summary
from evals.decision import Decision
from evals.evidence import Evidence
from evals.report import cases, conditions, headline, spreads
from evals.report.cases import LIMITS, Limits
from evals.report.facts import facts
from evals.report.failures import bills, failures
from evals.report.prompts import Found
from evals.report.texts import clean
from evals.report.view import Cases, Coverage, Noise, Page, Retried, Said
from evals.schema import Arm

_MINUTE = "%d %B %Y, %H:%M UTC"


@dataclass(frozen=True, slots=True)
class Material:
    """What a report is made of. `prompts` are the data set, or why there is none."""

    candidate: Evidence
    baseline: Evidence | None
    prompts: Found
    now: datetime
    limits: Limits = LIMITS

    @property
    def runs(self) -> dict[Arm, Evidence]:
        """The runs by the part they play, baseline first."""
        theirs: dict[Arm, Evidence] = {"baseline": self.baseline} if self.baseline is not None else {}
        return {**theirs, "candidate": self.candidate}


def of_decision(decision: Decision, material: Material) -> Page:
    """The report of a gate's decision."""
    rows = conditions.of_decision(decision)
    known = material.candidate.log.manifest.metrics()
    metrics = [name for name in dict.fromkeys(row.label.partition("[")[0] for row in rows) if name in known]
    alphas = sorted({result.alpha for result in decision.metrics})
    level = " and ".join(f"{1 - alpha:.4g}" for alpha in alphas)
    used = material if decision.flips or decision.baseline else _alone(material)
    predicate = decision.verdict.predicate if decision.verdict else None
    said = Said(
        kind="gate",
        title=clean(f"Gate {decision.gate}"),
        headline=clean(headline.of_gate(decision.answer, decision.release)),
        answer=decision.answer,
        reason=clean(decision.reason),
        expires=f"{predicate.expires.astimezone(UTC):{_MINUTE}}" if predicate else None,
        level=f"one-sided bounds, each at confidence {level}",
        problems=tuple(map(clean, decision.problems)),
        notes=tuple(map(clean, decision.notes)),
        waivers=predicate.waivers if predicate else (),
        conditions=rows,
        cases=_cases(used, decision, metrics or known),
        facts=facts(used.runs, decision),
        metrics=tuple(metrics or known),
    )
    return _page(used, said)


def of_runs(material: Material) -> Page:
    """The report of two runs beside each other, or of one. It decides nothing."""
    ours, theirs = material.candidate, material.baseline
    measures = summary.measure_all(ours) if theirs is None else summary.compare_all(ours, theirs)
    rows = conditions.of_measures(measures, paired=theirs is not None)
    flips = {name: found.flips for name, found in measures.items()}
    if theirs is None:
        shown = cases.lowest(list(measures), material.runs, material.prompts.data, material.limits)
        headed, title = f"{_name(ours)}: {len(rows)} metric{'s' * (len(rows) != 1)} measured", "Run"
    else:
        shown = cases.changed(flips, material.runs, material.prompts.data, material.limits)
        headed, title = headline.of_comparison(_name(ours), _name(theirs), rows), "Comparison"
    problems = (f"{arm}: {problem}" for arm, run in material.runs.items() for problem in run.problems)
    said = Said(
        kind="run" if theirs is None else "comparison",
        title=clean(f"{title} of {ours.log.manifest.suite}"),
        headline=headed,
        level="95 % intervals, as two one-sided bounds",
        problems=tuple(map(clean, problems)),
        notes=("no gate has spoken: this page decides nothing",),
        conditions=rows,
        cases=shown,
        facts=facts(material.runs, None),
        metrics=tuple(measures),
    )
    return _page(material, said)


def _alone(material: Material) -> Material:
    return Material(material.candidate, None, material.prompts, material.now, material.limits)


def _cases(material: Material, decision: Decision, metrics: list[str]) -> tuple[Cases, ...]:
    if decision.flips:
        return cases.changed(decision.flips, material.runs, material.prompts.data, material.limits)
    return cases.lowest(metrics, {"candidate": material.candidate}, material.prompts.data, material.limits)


def _page(material: Material, said: Said) -> Page:
    """The parts that every kind of report has, and what was said besides."""
    ours, theirs, runs = material.candidate, material.baseline, material.runs
    shared = [name for name in said.metrics if theirs is None or name in theirs.log.manifest.metrics()]
    rows, left_out = conditions.slices(ours, theirs, shared)
    splits = summary.noises(ours) if theirs is None else summary.noises_between(ours, theirs)
    return Page(
        said=said,
        candidate=_name(ours),
        baseline=_name(theirs) if theirs else None,
        made_at=f"{material.now.astimezone(UTC):{_MINUTE}}",
        coverage=tuple(_coverage(arm, run) for arm, run in runs.items()),
        slices=rows,
        slices_left_out=left_out,
        show_command=show_command(runs),
        no_prompts=material.prompts.why,
        failures=failures(runs),
        quantities=spreads.quantities(runs),
        bills=bills(runs),
        noises=tuple(Noise(metric, split) for metric, split in splits.items()),
        retried=tuple(_retried(runs)),
    )


def _name(run: Evidence) -> str:
    return clean(run.release or run.log.manifest.asked(run.arm))


def _coverage(arm: Arm, run: Evidence) -> Coverage:
    complete = sum(not unit.missing for unit in run.units.values())
    return Coverage(arm, run.coverage, complete, run.log.manifest.samples)


def show_command(runs: Mapping[Arm, Evidence]) -> str:
    """The command that shows any one sample of these runs, without the sample's id."""
    ours, theirs = runs["candidate"], runs.get("baseline")
    command = f"evals show {shlex.quote(str(ours.log.path))} SAMPLE"
    if theirs is not None and theirs.log.path != ours.log.path:
        command += f" --baseline {shlex.quote(str(theirs.log.path))}"
    return clean(command)


def _retried(runs: Mapping[Arm, Evidence]) -> Iterable[Retried]:
    for arm, run in runs.items():
        for metric, groups in summary.retried(run).items():
            first, again = (groups.get(name) for name in ("first_try", "retried"))
            yield Retried(
                arm,
                metric,
                (first.results, first.mean) if first else (0, None),
                (again.results, again.mean) if again else (0, None),
            )
