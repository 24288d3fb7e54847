"""Metrics: every name in one table.

Labels are models, releases, replicas and codes of this gateway, never a client's text: their number stays bounded.
`docs/observability.md` shows the table.
"""

import math
import os
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from decimal import Decimal
from threading import Lock
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest

from gateway.contracts.ledger import COMPLETED, LedgerRow
from gateway.gauges import WORKERS_FOLDER, OfAllWorkers, forget
from gateway.histograms import Histogram
from gateway.policy.accounting import Account

# When a series began would be series of their own, since this format has no place for it: a tenth of all.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Of what takes microseconds when all is well."""
Mode = Literal["livesum", "livemax", "livemin", "livemostrecent"]
MOST_VALUES = 500
"""Models, and releases, with series of their own. A process that meets more of them counts those as `OTHER`."""
OTHER = "(other)"
RELOADS = ("applied", "refused")
TRACES = ("exported", "failed", "dropped")
ADMIN = ("read", "changed", "refused", "unauthorized", "failed")


class Metric(NamedTuple):
    """One line of the table: the name of the page's series, its kind, its labels, and what it means."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    text: str


class _Noted:
    """What ended of one model, release and outcome, and is not counted yet. Seconds, tokens, and decimals in text."""

    __slots__ = (
        "added", "between", "cached", "costs", "currency", "durations", "first_bytes", "input", "output", "routes",
        "unpriced",
    )  # fmt: skip

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.durations: list[float] = []
        self.first_bytes: list[float] = []
        self.added: list[float] = []
        self.between: list[float] = []
        self.costs: list[str] = []
        self.routes: list[str] = []
        self.input = self.cached = self.output = self.unpriced = 0

    @property
    def timed(self) -> tuple[Sequence[float], ...]:
        """Seconds, for each of the histograms."""
        return self.durations, self.first_bytes, self.between, self.added


class Telemetry:
    """The gateway's metrics, on a registry of their own. `table` has a line for each."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.table: list[Metric] = []
        self._noted: dict[tuple[str, str, str], _Noted] = {}
        """By model, release and outcome."""
        self._handed: list[dict[tuple[str, str, str], _Noted]] = []
        self._counting = Lock()
        self._models, self._releases = set[str](), set[str]()
        self._budgets = set[tuple[str, str]]()
        self._about_requests()
        self._about_pools()
        self._about_replicas()
        self._about_budgets()
        self._about_the_ledger()
        self._about_the_process()
        self._about_gateways()

    def _about_requests(self) -> None:
        self.requests = self._counter("requests", "Admitted requests by outcome.", "model", "release", "outcome")
        self.refusals = self._counter("refusals", "Requests refused before admission.", "code")
        self.tokens = self._counter("tokens", "Tokens as the engines count them.", "model", "kind")
        text = "List cost of what was answered, for graphs: the ledger has it exactly."
        self.cost = self._counter("cost", text, "model", "currency")
        self.unpriced = self._counter("unpriced", "Metered, without a price.", "model")
        self.fallbacks = self._counter("fallbacks", "Requests handed to another model's release.", "model", "release")
        self.ungated = self._counter("ungated", "Requests served without a verdict in `warn` mode.", "release")
        text = "Requests for which a rule could not be evaluated, and did not hold."
        self.rule_errors = self._counter("rule_errors", text, "model", "rule")
        text = "Choices among several replicas, by why that one was taken."
        self.routes = self._counter("routes", text, "model", "reason")
        self.duration = self._histogram("request_seconds", "From admission to the last byte.", "model")
        self.first_byte = self._histogram("first_byte_seconds", "From admission to the first byte sent.", "model")
        text = "Of a stream, the mean time from one output token to the next one."
        self.between = self._histogram("token_gap_seconds", text, "model", buckets=_SHORT)
        text = "From a whole request to its first attempt, without its wait for a slot: what the gateway takes itself."
        self.added = self._histogram("added_seconds", text, "model", buckets=_SHORT)

    def _about_pools(self) -> None:
        self.retries = self._counter("retries", "Attempts after the first one.", "pool")
        self.retries_denied = self._counter("retries_denied", "Attempts that the retry budget did not allow.", "pool")
        text = "Requests that found the queue of their pool full, or waited in vain."
        self.queue_refusals = self._counter("queue_refusals", text, "pool", "reason")
        text = "What requests waited for a slot of their pool; those that went on at once do not count."
        self.queue_wait = self._histogram("queue_wait_seconds", text, "pool")
        self.queue_depth = self._gauge("queue_depth", "Requests that wait for a slot of a pool.", "livesum", "pool")

    def _about_replicas(self) -> None:
        self._replica_gauges = (
            self._gauge("in_flight", "Requests in flight on a replica.", "livesum", "replica"),
            self._gauge("breaker_open", "1 while a replica is left out.", "livemax", "replica"),
            self._gauge("replica_up", "1 while a replica's probes succeed, 0 while it is down.", "livemin", "replica"),
            self._gauge("replica_asleep", "1 while a replica sleeps.", "livemax", "replica"),
            self._gauge("replica_draining", "1 while a replica gets no new request.", "livemax", "replica"),
            self._gauge("replica_kv_usage", "The part of its KV cache that requests hold.", "livemax", "replica"),
            self._gauge("replica_waiting", "Requests that wait in the engine.", "livemax", "replica"),
        )
        self.in_flight, self.breaker, self.up, self.asleep, self.draining, *self._said = self._replica_gauges
        text = "What a replica's own counters have more than the ledger of the last hour; below zero, less."
        self._unaccounted = self._gauge("unaccounted_tokens", text, "livemostrecent", "replica", "kind")

    def _about_the_ledger(self) -> None:
        self.open = self._gauge("open_requests", "Admitted and not yet settled.", "livesum")
        self.ledger_lag = self._gauge("ledger_lag_rows", "Settled rows not yet in the database.", "livesum")
        text = "The age of the oldest settled row that is not in the database; 0 where there is none."
        self.ledger_age = self._gauge("ledger_lag_seconds", text, "livemax")
        self.spool_bytes = self._gauge("spool_bytes", "What the spool's file holds, stored rows too.", "livesum")
        self.unspooled = self._counter("unspooled", "Requests served while memory alone could hold their rows.")

    def _about_the_process(self) -> None:
        text = "Configurations that a process took over or refused."
        self.config_reloads = self._counter("config_reloads", text, "result")
        self.admin = self._counter("admin_requests", "Requests to the admin port.", "result")
        self.cpu = self._counter("process_cpu_seconds", "Processor time.")
        self.resident = self._gauge("process_resident_bytes", "Memory that is in use.", "livesum")
        self.descriptors = self._gauge("process_open_descriptors", "Open files and sockets.", "livesum")
        text = "The part of the open files and sockets that a process may have."
        self.descriptors_used = self._gauge("process_descriptors_used_ratio", text, "livemax")
        self.traces = self._counter("traces", "Recorded requests by what became of their traces.", "result")
        for counter, results in ((self.config_reloads, RELOADS), (self.traces, TRACES), (self.admin, ADMIN)):
            for result in results:
                counter.labels(result)  # from 0 on: `increase` does not see a series that begins at 1
        self.loop_late = self._histogram("loop_late_seconds", "How late the event loop is.", buckets=_SHORT)

    def _about_budgets(self) -> None:
        self.budget_refusals = self._by_budget("refusals", "Requests that may have cost more than a budget has left.")
        self.budget_warnings = self._by_budget("warnings", "Requests served though a budget that warns was exceeded.")
        self.budget_unknown = self._by_budget("unknown", "Requests whose budgets could not be asked for.")
        self.budget_alerts = self._by_budget("alerts", "Thresholds that a budget's spending went over.", "threshold")
        text = "The part that is spent; the largest where each has its own."
        self.budget_spent = self._gauge("budget_spent_ratio", text, "livemax", "budget")
        text = "Money that is left, below zero what was overspent; the least where each has its own."
        self.budget_left = self._gauge("budget_left", text, "livemin", "budget", "currency")

    def _about_gateways(self) -> None:
        self.limits_shared = self._gauge("limits_shared", "1: limits are shared; 0: Redis is away.", "livemin")
        text = "Rounds in which more of a key's or team's limits was asked for, since requests waited for it."
        self.limit_borrows = self._counter("limit_borrows", text, "result")
        self.looks = self._counter("state_looks", "Looks at what changed of keys and releases.")
        self.leader = self._gauge("leader", "1 in the process that closes hours and folds old rows.", "livesum")

    def _by_budget(self, name: str, text: str, *labels: str) -> Counter:
        return self._counter(f"budget_{name}", text, "budget", *labels)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self.table.append(Metric(f"tollgate_{name}_total", "counter", labels, text))
        return Counter(f"tollgate_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
        self.table.append(Metric(f"tollgate_{name}", "histogram", labels, text))
        return Histogram(f"tollgate_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, mode: Mode, *labels: str) -> Gauge:
        """`mode` says what the gauges of several workers come to."""
        self.table.append(Metric(f"tollgate_{name}", "gauge", labels, text))
        return Gauge(f"tollgate_{name}", text, labels, registry=self.registry, multiprocess_mode=mode)

    def rule_error(self, model: str, rule: str) -> None:
        """Count a rule that could not be evaluated for a request."""
        self.rule_errors.labels(model, rule).inc()

    def settled(self, row: LedgerRow, account: Account | None = None) -> None:
        """Note a request that ended, and how it was served. It is counted by `count`, once that was handed over.

        Its numbers are kept and not its row: see `stores.spool.Spool.settle`.
        """
        key = (row.model, row.release, row.outcome)
        noted = self._noted.get(key)
        if noted is None:
            noted = self._noted[key] = _Noted(row.currency)
        noted.durations.append(row.duration_s)
        if row.first_byte_s is not None:
            noted.first_bytes.append(row.first_byte_s)
        if row.input_tokens is not None:
            noted.input += row.input_tokens
            noted.cached += row.cached_tokens or 0
            noted.output += row.output_tokens or 0
            if row.cost is None:
                noted.unpriced += 1
            else:
                noted.costs.append(row.cost)
            if row.stream:
                noted.between += _between(row)
        if account is not None:
            decided, queued_s = account.decided, 0.0
            if decided is not None:
                queued_s = decided.queued_s
                noted.routes += [routed.reason for routed in decided.routes]
            if row.attempts == 1 and row.dispatched_s is not None:
                noted.added.append(row.dispatched_s - account.received_s - queued_s)

    def hand_over(self) -> bool:
        """Have what was noted until now counted by the next `count`. Whether there is anything to count."""
        if self._noted:
            self._handed.append(self._noted)
            self._noted = {}
        return bool(self._handed)

    def count(self) -> None:
        """Count what was handed over. In any thread: requests do not wait for it, and nothing is counted twice."""
        with self._counting:
            while self._handed:
                for key, noted in self._handed.pop().items():
                    self._count(*key, noted)

    def _count(self, model: str, release: str, outcome: str, noted: _Noted) -> None:
        model, release = _few(self._models, model), _few(self._releases, release)
        self.requests.labels(model, release, outcome).inc(len(noted.durations))
        histograms = (self.duration, self.first_byte, self.between, self.added)
        for histogram, seconds in zip(histograms, noted.timed, strict=True):
            if seconds:
                histogram.labels(model).observe_all(seconds)
        for kind in ("input", "cached", "output"):
            if number := getattr(noted, kind):
                self.tokens.labels(model, kind).inc(number)
        if noted.unpriced:
            self.unpriced.labels(model).inc(noted.unpriced)
        if noted.costs:
            self.cost.labels(model, noted.currency).inc(float(sum(map(Decimal, noted.costs))))
        for reason, number in Tally(noted.routes).items():
            self.routes.labels(model, reason).inc(number)

    def said(self, replica: str, kv_usage: float | None, waiting: int | None) -> None:
        """What an engine says of its load. What it does not say has no value: NaN, and never zero."""
        for gauge, value in zip(self._said, (kv_usage, waiting), strict=True):
            gauge.labels(replica).set(math.nan if value is None else value)

    def unaccounted(self, replica: str, kind: str, tokens: int | None) -> None:
        """How far a replica's own counters are from the ledger. What cannot be told has no value: NaN."""
        self._unaccounted.labels(replica, kind).set(math.nan if tokens is None else tokens)

    def budgets(self, currency: str, standing: Mapping[str, tuple[float, float]]) -> None:
        """How budgets stand, by name: the part that is spent, and what is left. Any other one has no series."""
        told = {(name, currency) for name in standing}
        for name, former in self._budgets - told:
            forget(self.budget_spent, budget=name)
            forget(self.budget_left, budget=name, currency=former)
        self._budgets = told
        for name, (ratio, left) in standing.items():
            self.budget_spent.labels(name).set(ratio)
            self.budget_left.labels(name, currency).set(left)

    def gone(self, replica: str) -> None:
        """A replica that serves no more has no series."""
        for gauge in (*self._replica_gauges, self._unaccounted):
            forget(gauge, replica=replica)

    def page(self) -> bytes:
        """What was handed over in Prometheus's text format, of all workers where this is one. In any thread."""
        self.count()
        return generate_latest(OfAllWorkers() if WORKERS_FOLDER in os.environ else self.registry)


def _between(row: LedgerRow) -> Sequence[float]:
    """Seconds a token of a whole stream with one answer: (end - first byte) / (tokens - 1)."""
    first, tokens = row.first_byte_s, row.output_tokens
    if first is None or tokens is None or tokens < 2 or row.outcome != COMPLETED or row.choices is not None:
        return ()
    return ((row.duration_s - first) / (tokens - 1),)


def _few(known: set[str], value: str) -> str:
    """The value, while few enough are known: whatever names come to be, the page does not grow for ever."""
    if value not in known:
        if len(known) >= MOST_VALUES:
            return OTHER
        known.add(value)
    return value
