"""What a replay shows: time to the first token, cache, balance, queue, fairness, money. Of several seeds, the spread.

A number that does not exist is None, never 0: the mean of no requests, the price of no tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from math import floor
from typing import Any

from gateway.simulation.fleet import COMPLETED, Replay, Served

PLACES = Decimal("0.000001")
MILLION = Decimal(1_000_000)
MOST_TENANTS = 20
"""Listed one by one; of more the ratio and the index are told."""


@dataclass(frozen=True)
class Summary:
    """One replay. Times in seconds, rates per second, money in the currency of the price.

    `cached_share` is of the prompt tokens of what completed. `balance` is the work of the busiest replica against the
    mean: the time that its requests added to steps. `busy` is the part of the time in which a replica computed, and
    `seconds` is from the first arrival to the last end. `service_ratio` and `jain` compare what tenants were served
    while requests came in, by their weights: the most against the least, and (Σx)² / (n · Σx²), 1 when all are equal.
    """

    requests: int
    completed: int
    refused: int
    expired: int
    too_long: int
    preemptions: int
    seconds: float
    ttft_mean: float | None
    ttft_p50: float | None
    ttft_p90: float | None
    ttft_p99: float | None
    itl_mean: float | None
    itl_p99: float | None
    queue_mean: float | None
    queue_p99: float | None
    cached_share: float | None
    balance: float | None
    busy: float | None
    requests_s: float | None
    output_tokens_s: float | None
    service_ratio: float | None
    jain: float | None
    service: dict[str, float]
    cost: Decimal | None
    cost_per_million: Decimal | None


METRICS = tuple(name for name in Summary.__dataclass_fields__ if name != "service")


def summary(replay: Replay, gpu_price: Decimal | None = None) -> Summary:
    """What one replay shows. `gpu_price` is for one GPU and hour."""
    served = replay.served
    done = [each for each in served if each.outcome == COMPLETED]
    outcomes = [each.outcome for each in served]
    start = served[0].arrival.at if served else 0.0
    seconds = max(0.0, replay.end - start)
    ttft = sorted(each.first_at - each.arrival.at for each in done)
    itl = sorted(
        (each.finished_at - each.first_at) / (each.arrival.output_tokens - 1)
        for each in done
        if each.arrival.output_tokens > 1
    )
    queue = sorted(each.routed_at - each.arrival.at for each in done)
    prompts = sum(each.arrival.input_tokens for each in done)
    written = sum(each.arrival.output_tokens for each in done)
    work = [each.work_s for each in replay.loads]
    served_by = services(replay, start, served[-1].arrival.at) if served else {}
    cost = _cost(replay, seconds, gpu_price)
    return Summary(
        requests=len(served),
        completed=len(done),
        refused=outcomes.count("queue_full"),
        expired=outcomes.count("queue_timeout"),
        too_long=outcomes.count("context_length_exceeded"),
        preemptions=sum(each.preemptions for each in replay.loads),
        seconds=seconds,
        ttft_mean=mean(ttft),
        ttft_p50=quantile(ttft, 0.5),
        ttft_p90=quantile(ttft, 0.9),
        ttft_p99=quantile(ttft, 0.99),
        itl_mean=mean(itl),
        itl_p99=quantile(itl, 0.99),
        queue_mean=mean(queue),
        queue_p99=quantile(queue, 0.99),
        cached_share=_ratio(sum(each.cached for each in done), prompts),
        balance=_ratio(max(work) * len(work), sum(work)),
        busy=_ratio(sum(each.busy_s for each in replay.loads), len(work) * seconds),
        requests_s=_ratio(len(done), seconds),
        output_tokens_s=_ratio(written, seconds),
        service_ratio=_ratio(max(served_by.values()), min(served_by.values())) if len(served_by) > 1 else None,
        jain=jain(list(served_by.values())) if len(served_by) > 1 else None,
        service=served_by if len(served_by) <= MOST_TENANTS else {},
        cost=None if cost is None else cost.quantize(PLACES),
        # Of the exact cost: of a short trace it is a few millionths, and what they are rounded by is a part of them.
        cost_per_million=None if cost is None or not done else (cost * MILLION / (prompts + written)).quantize(PLACES),
    )


def services(replay: Replay, start: float, end: float, *, weighted: bool = True) -> dict[str, float]:
    """What each tenant was served between two times, as the queue weighs tokens; `weighted`: by its weight.

    A prompt is served when the request leaves the queue, as the virtual token counter has it, and an answer evenly
    between its first token and its last.
    """
    weights = replay.setup.queue
    found: dict[str, float] = {}
    for each in replay.served:
        arrival = each.arrival
        share = arrival.weight if weighted else 1.0
        total = found.get(arrival.tenant, 0.0)
        if each.outcome == COMPLETED:
            if start <= each.routed_at < end:
                computed = arrival.input_tokens - each.cached
                total += (computed * weights.input + each.cached * weights.cached) / share
            total += arrival.output_tokens * weights.output * _overlap(each, start, end) / share
        found[arrival.tenant] = total
    return found


def _overlap(each: Served, start: float, end: float) -> float:
    """The part of an answer that was written between two times."""
    length = each.finished_at - each.first_at
    if length <= 0:
        return float(start <= each.finished_at < end)
    return max(0.0, min(end, each.finished_at) - max(start, each.first_at)) / length


def jain(values: Sequence[float]) -> float | None:
    """Jain's index of fairness: 1 when all are equal, 1 / n when one has everything."""
    return _ratio(sum(values) ** 2, len(values) * sum(value * value for value in values))


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return sum(values) / len(values) if values else None


def quantile(ordered: Sequence[float], part: float) -> float | None:
    """A quantile of values in order, between its two neighbours (type 7 of Hyndman and Fan); None of nothing."""
    if not ordered:
        return None
    at = part * (len(ordered) - 1)
    below = floor(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _cost(replay: Replay, seconds: float, gpu_price: Decimal | None) -> Decimal | None:
    if gpu_price is None:
        return None
    gpus = replay.setup.engine.gpus * replay.setup.replicas
    return gpu_price * gpus * Decimal(repr(seconds)) / 3600


@dataclass(frozen=True)
class Line:
    """One policy on one size of the fleet, over all seeds."""

    policy: str
    replicas: int
    seeds: Sequence[Summary]

    def over(self, metric: str, combine: Callable[[Sequence[Any]], Any]) -> Any:
        """A metric of all seeds, combined; None where one of the seeds has none."""
        values = [getattr(each, metric) for each in self.seeds]
        return None if any(value is None for value in values) else combine(values)

    def values(self) -> dict[str, Any]:
        """Everything, with the mean, least and most of each metric; money as text, so that no reader rounds it."""
        found: dict[str, Any] = {"policy": self.policy, "replicas": self.replicas, "seeds": len(self.seeds)}
        for metric in METRICS:
            found[metric] = {
                name: _told(self.over(metric, combine))
                for name, combine in (("mean", _mean), ("min", min), ("max", max))
            }
        found["service"] = [asdict(each)["service"] for each in self.seeds]
        return found


def _mean(values: Sequence[Any]) -> Any:
    total = sum(values) / len(values)
    return total.quantize(PLACES) if isinstance(total, Decimal) else total


def _told(value: Any) -> Any:
    return format(value, "f") if isinstance(value, Decimal) else value


def flat(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """One row for each line and metric (policy, replicas, seeds, metric, mean, min, max), for a spreadsheet."""
    return [
        {"policy": line.policy, "replicas": line.replicas, "seeds": len(line.seeds), "metric": metric, **spread}
        for line in lines
        for metric, spread in line.values().items()
        if metric in METRICS
    ]
