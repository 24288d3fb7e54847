"""The engine model, fitted to what a real engine says of itself, and how well it fits.

vLLM counts its steps (`vllm:iteration_tokens_total`), the tokens in them, and the time between tokens. So a window
between two looks at `/metrics` gives the mean time of a step, and the mean of what was in it: one equation in the four
terms of `profile.StepTime`. Windows of unlike load give the terms, none negative, with the least relative error.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from gateway.contracts.errors import InputError
from gateway.settings.profile import EngineProfile, Quality, StepTime
from gateway.simulation.engine import NEVER, Engine
from gateway.simulation.jobs import Job
from gateway.simulation.least_squares import independent, nnls
from gateway.simulation.pages import Counters

TERMS = ("base_s", "prefill_token_s", "sequence_s", "context_token_s")
FEWEST = 6
"""Windows that four terms need, with two to tell whether they are right."""


class Burst(NamedTuple):
    """A load whose every token is known: so many requests at once, with so many tokens in and out each."""

    requests: int
    input_tokens: int
    output_tokens: int

    @property
    def context(self) -> int:
        """The contexts of all steps in which one of them decodes, summed."""
        steps = self.output_tokens - 1
        return self.requests * (steps * self.input_tokens + steps * (steps + 1) // 2)


class Window(NamedTuple):
    """The mean step between two looks: its seconds, and what was in it.

    Of a burst also its TTFT and the time between tokens inside the engine, and how far apart its requests came there.
    """

    step_s: float
    prefill: float
    sequences: float
    context: float
    steps: float
    burst: Burst | None = None
    ttft_s: float | None = None
    itl_s: float | None = None
    apart_s: float = 0.0

    @property
    def row(self) -> tuple[float, ...]:
        """What each term is multiplied with."""
        return (1.0, self.prefill, self.sequences, self.context)


class Term(NamedTuple):
    """One term: its seconds, its part of all the time, and the mean error of the best fit without it."""

    name: str
    seconds: float
    share: float
    error_without: float


class Check(NamedTuple):
    """A burst as it was measured, and as the fitted engine does it. Seconds."""

    burst: Burst
    step_s: float
    fitted_step_s: float
    ttft_s: float | None
    simulated_ttft_s: float
    itl_s: float | None
    simulated_itl_s: float | None


@dataclass(frozen=True)
class Fit:
    """The terms, and how well they tell the steps.

    `r2` is the part of the variance of step times that they explain; `cross_validated_r2` is the same where each window
    is told by a fit to the others alone; `mean_error` is the mean of |told - measured| / measured.
    """

    step: StepTime
    windows: int
    r2: float
    cross_validated_r2: float
    mean_error: float
    terms: tuple[Term, ...]


def passing(pages: Iterable[Counters]) -> list[Window]:
    """The windows between looks at an engine that serves whoever comes.

    The time of a step is the mean time between tokens, which is the time of the steps that somebody's token waited for;
    contexts are what the KV cache holds, so prefixes that are shared count once. Windows without tokens say nothing.
    """
    found = []
    for before, after in pairwise(pages):
        steps, itls = after.steps - before.steps, after.itls - before.itls
        if steps <= 0 or itls <= 0:
            continue
        found.append(
            Window(
                step_s=(after.itl_s - before.itl_s) / itls,
                prefill=(after.computed - before.computed) / steps,
                sequences=(after.written - before.written - (after.firsts - before.firsts)) / steps,
                context=(before.kv_usage + after.kv_usage) / 2 * after.kv_tokens,
                steps=steps,
            )
        )
    return found


def outside(before: Counters, after: Counters, latency_s: float) -> float:
    """Seconds that requests spent outside of the engine (HTTP, tokenizing), of `latency_s` on average to the client."""
    return max(0.0, latency_s - (after.inside_s - before.inside_s) / (after.ended - before.ended))


def measured(before: Counters, after: Counters, burst: Burst, seconds: float, outside_s: float) -> Window:
    """The window of a burst that took `seconds`, of which a request alone spends `outside_s` outside of the engine.

    So far apart its requests are taken to reach the engine, one front door as it has. Raises InputError when something
    else was served meanwhile, or a cache gave a part of it: then what was in the steps is not known.
    """
    ended, steps = after.ended - before.ended, after.steps - before.steps
    if ended != burst.requests or after.written - before.written != burst.requests * burst.output_tokens:
        raise InputError("the engine served others during the calibration: fit one that nobody uses, or use --watch")
    computed = after.computed - before.computed
    if computed != burst.requests * burst.input_tokens:
        wanted = burst.requests * burst.input_tokens
        raise InputError(f"expected the engine to compute {wanted:,} prompt tokens, and it counts {computed:,.0f}")
    itls = after.itls - before.itls
    return Window(
        step_s=max(seconds - outside_s, seconds / 2) / steps,
        prefill=computed / steps,
        sequences=burst.requests * (burst.output_tokens - 1) / steps,
        context=burst.context / steps,
        steps=steps,
        burst=burst,
        ttft_s=(after.until_first_s - before.until_first_s) / ended,
        itl_s=(after.itl_s - before.itl_s) / itls if itls else None,
        apart_s=outside_s,
    )


def fit(windows: Sequence[Window]) -> Fit:
    """The terms with the least squared relative error. Raises InputError when the windows do not tell them."""
    if len(windows) < FEWEST:
        raise InputError(f"expected {FEWEST} windows with load or more, found {len(windows)}: watch longer, ask more")
    if not independent([each.row for each in windows]):
        raise InputError(
            "these windows do not tell the terms apart: they need several lengths of prompts and of answers, and "
            "several numbers of requests at once"
        )
    terms = solve(windows)
    if terms[0] <= 0:
        raise InputError(
            "these windows do not tell what a step costs by itself: some must have one request alone, some many"
        )
    told = [_told(terms, each) for each in windows]
    apart = [_told(solve([*windows[:at], *windows[at + 1 :]]), each) for at, each in enumerate(windows)]
    whole = sum(value * each.steps for value, each in zip(told, windows, strict=True))
    found = []
    for at, name in enumerate(TERMS):
        share = terms[at] * sum(each.row[at] * each.steps for each in windows) / whole
        without = solve(windows, [each for each in range(len(TERMS)) if each != at])
        found.append(Term(name, terms[at], share, _mean_error([_told(without, each) for each in windows], windows)))
    return Fit(
        StepTime(**dict(zip(TERMS, terms, strict=True))),
        len(windows),
        _r2(told, windows),
        _r2(apart, windows),
        _mean_error(told, windows),
        tuple(found),
    )


def solve(windows: Sequence[Window], terms: Sequence[int] = range(len(TERMS))) -> list[float]:
    """The terms, none negative, with the least squared relative error; those that are not asked for are 0."""
    rows = [[each.row[at] / each.step_s for at in terms] for each in windows]
    found = nnls(rows, [1.0] * len(rows))
    answer = [0.0] * len(TERMS)
    for at, value in zip(terms, found, strict=True):
        answer[at] = value
    return answer


def checks(profile: EngineProfile, windows: Iterable[Window]) -> list[Check]:
    """Each burst done by the engine of a profile, beside what was measured: the terms were not fitted to its TTFT."""
    found = []
    for each in windows:
        if each.burst is not None:
            ttft, itl = _simulated(profile, each.burst, each.apart_s)
            step = profile.step.of(*each.row[1:])
            found.append(Check(each.burst, each.step_s, step, each.ttft_s, ttft, each.itl_s, itl))
    return found


def ttft_error(found: Iterable[Check]) -> float | None:
    """The mean of |simulated - measured| / measured over the TTFT of all bursts; None where none was measured."""
    errors = [abs(each.simulated_ttft_s - each.ttft_s) / each.ttft_s for each in found if each.ttft_s]
    return sum(errors) / len(errors) if errors else None


def quality(found: Fit, error: float | None) -> Quality:
    """What a profile says of its fit."""
    return Quality(
        windows=found.windows,
        r2=round(found.r2, 4),
        cross_validated_r2=round(found.cross_validated_r2, 4),
        mean_error=round(found.mean_error, 4),
        ttft_error=None if error is None else round(error, 4),
    )


def _simulated(profile: EngineProfile, burst: Burst, apart_s: float) -> tuple[float, float | None]:
    """(mean TTFT, mean time between tokens) of a burst."""
    engine = Engine(profile)
    jobs = [Job(burst.input_tokens, burst.output_tokens) for _ in range(burst.requests)]
    for number, job in enumerate(jobs):
        while engine.next_at <= number * apart_s:
            engine.advance()
        engine.submit(job, number * apart_s)
    while engine.next_at < NEVER:
        engine.advance()
    firsts = sum(job.first_at or 0.0 for job in jobs)
    lasts = sum(job.finished_at or 0.0 for job in jobs)
    arrivals = apart_s * sum(range(burst.requests))
    gaps = burst.requests * (burst.output_tokens - 1)
    return (firsts - arrivals) / len(jobs), (lasts - firsts) / gaps if gaps else None


def _told(terms: Sequence[float], window: Window) -> float:
    return sum(term * value for term, value in zip(terms, window.row, strict=True))


def _r2(told: Sequence[float], windows: Sequence[Window]) -> float:
    mean = sum(each.step_s for each in windows) / len(windows)
    whole = sum((each.step_s - mean) ** 2 for each in windows)
    missed = sum((each.step_s - value) ** 2 for value, each in zip(told, windows, strict=True))
    return 1 - missed / whole if whole else 0.0


def _mean_error(told: Sequence[float], windows: Sequence[Window]) -> float:
    return sum(abs(value - each.step_s) / each.step_s for value, each in zip(told, windows, strict=True)) / len(windows)
