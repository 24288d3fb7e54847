"""How busy a pool has to be before its own GPUs cost less than the list price of what it does.

    U* = price · GPUs / (list price per token · peak tokens per hour)

An example: a replica of one GPU at 2.50 an hour that gives 9.0 million tokens an hour at its peak, at a list price of
0.60 per million, breaks even at 2.50 / (0.60 · 9.0) = 46 % of its peak. The peak is what it gives when it is never
short of requests of its mix: worked out from a fitted profile of its engine, or the busiest hour that was observed,
which can only be lower, so that its answer is an upper bound. Above 100 % it never pays at this list price. What is not
known makes None with a reason, and never 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal

from gateway.contracts.prices import PER, Price
from gateway.settings.profile import EngineProfile

HOUR_S = 3600
HOUR_US = HOUR_S * 1_000_000
PLACES = Decimal("0.000001")
Basis = Literal["profile", "observed"]
"""Where a peak comes from: the engine's fitted profile, or its busiest hour."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What requests are like: sums of tokens over any number of them.

    `input_tokens` includes the cached ones, `output_tokens` those of reasoning.
    """

    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All that a list price counts."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Observed:
    """One replica and hour: the microseconds that were paid for, and the tokens that it gave, as `Mix.tokens`."""

    paid_us: int
    tokens: int


@dataclass(frozen=True, slots=True)
class BreakEven:
    """`utilisation` of the peak, 0.46 for 46 %; None with the `reason`. `peak` is in tokens an hour of one replica."""

    basis: Basis
    utilisation: Decimal | None
    peak: Decimal | None
    list_per_million: Decimal | None
    reason: str = ""


def peak_of_profile(profile: EngineProfile, mix: Mix) -> Decimal | None:
    """Tokens that one replica gives in an hour when it never waits for requests; None of a mix without requests.

    In the steady state every step begins and ends r requests: it decodes r · output sequences and prefills r · uncached
    prompt tokens, so that it takes `base_s` and r times what a request costs by itself. r / step time grows with r, up
    to the first of the engine's bounds: `max_num_seqs` sequences, `kv_tokens` of their contexts (a prompt and half of
    its answer each, on average), and `max_num_batched_tokens` of one step.
    """
    if mix.requests < 1 or mix.tokens < 1:
        return None
    read, written = mix.input_tokens / mix.requests, mix.output_tokens / mix.requests
    uncached = max(0, mix.input_tokens - mix.cached_tokens) / mix.requests
    context, step = read + written / 2, profile.step
    bounds = [profile.max_num_batched_tokens / (uncached + written)] if uncached + written else []
    if written:
        bounds += [profile.max_num_seqs / written, profile.kv_tokens / (context * written)]
    if not bounds:  # every prompt comes whole out of the cache, and nothing is generated
        return None
    rate = min(bounds)
    seconds = step.of(rate * uncached, rate * written, rate * written * context)
    return Decimal(round(rate * (read + written) / seconds * HOUR_S))


def peak_of_hours(hours: Iterable[Observed]) -> Decimal | None:
    """The most tokens an hour that a replica gave, each hour by the time that was paid; None where none gave any."""
    rates = [Decimal(hour.tokens) * HOUR_US / hour.paid_us for hour in hours if hour.paid_us > 0 and hour.tokens > 0]
    return max(rates, default=None)


def per_million(price: Price | None, mix: Mix) -> Decimal | None:
    """What a million tokens of a mix cost by the list; None without a price, or without tokens."""
    if price is None or mix.tokens < 1:
        return None
    cached = min(mix.cached_tokens, mix.input_tokens)
    cached_price = price.input if price.cached_input is None else price.cached_input
    thought = min(mix.reasoning_tokens, mix.output_tokens)
    thought_price = price.output if price.reasoning is None else price.reasoning
    total = (mix.input_tokens - cached) * price.input + cached * cached_price
    total += (mix.output_tokens - thought) * price.output + thought * thought_price
    return total / mix.tokens


def break_even(
    basis: Basis,
    *,
    per_gpu_hour: Decimal | None,
    gpus: int,
    list_per_million: Decimal | None,
    peak: Decimal | None,
) -> BreakEven:
    """U* of a pool whose replicas have so many GPUs each, at a price of one GPU's hour in the list price's currency."""
    missing = [
        told
        for told, value in (
            ("no price of a GPU's hour: set `usd_per_gpu_hour`", per_gpu_hour),
            ("no list price of its models, or no tokens to weigh it by", list_per_million),
            (_NO_PEAK[basis], peak),
        )
        if value is None
    ]
    if per_gpu_hour is None or list_per_million is None or peak is None:
        return BreakEven(basis, None, peak, list_per_million, "; ".join(missing))
    revenue = list_per_million * peak / PER
    if revenue <= 0:
        return BreakEven(basis, None, peak, list_per_million, "its list price is 0: it never pays for itself")
    with localcontext() as context:
        context.prec = 50
        utilisation = (per_gpu_hour * gpus / revenue).quantize(PLACES)
    above = "above 100 %: it never pays for itself at this list price" if utilisation > 1 else ""
    return BreakEven(basis, utilisation, peak, list_per_million, above)


_NO_PEAK: dict[Basis, str] = {
    "profile": "no profile of its engine, or no requests to know their mix by: `gateway simulate fit` makes one",
    "observed": "no hour with tokens was observed",
}


def of_pool(
    *,
    per_gpu_hour: Decimal | None,
    gpus: int,
    price: Price | None,
    mix: Mix,
    profile: EngineProfile | None,
    hours: Iterable[Observed],
) -> tuple[BreakEven, BreakEven]:
    """(by its engine's profile, by its busiest hour). A profile's replica has `profile.gpus`, as its fit had."""
    listed = per_million(price, mix)
    computed = None if profile is None else peak_of_profile(profile, mix)
    return (
        break_even(
            "profile",
            per_gpu_hour=per_gpu_hour,
            gpus=gpus if profile is None else profile.gpus,
            list_per_million=listed,
            peak=computed,
        ),
        break_even(
            "observed", per_gpu_hour=per_gpu_hour, gpus=gpus, list_per_million=listed, peak=peak_of_hours(hours)
        ),
    )
