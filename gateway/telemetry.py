"""Metrics: every name in one table.

Labels are models, releases, replicas and codes of this gateway, never a client's text: their number stays bounded.
"""

import math
import os
from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.contracts.ledger import LedgerRow

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
Mode = Literal["livesum", "livemax", "livemin", "livemostrecent"]
WORKERS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which workers share their metrics. It counts when this module is loaded."""


class _Noted:
    """What ended of one model, release and outcome, and is not counted yet. Seconds and tokens."""

    __slots__ = ("cached", "durations", "first_bytes", "input", "output", "unpriced")

    def __init__(self) -> None:
        self.durations: list[float] = []
        self.first_bytes: list[float] = []
        self.input = self.cached = self.output = self.unpriced = 0


class Telemetry:
    """The gateway's metrics, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "tollgate_requests", "Admitted requests by outcome.", ["model", "release", "outcome"], registry=registry
        )
        self.refusals = Counter("tollgate_refusals", "Requests refused before admission.", ["code"], registry=registry)
        self.tokens = Counter(
            "tollgate_tokens", "Tokens as the engines count them.", ["model", "kind"], registry=registry
        )
        self.unpriced = Counter("tollgate_unpriced", "Metered, without a price.", ["model"], registry=registry)
        self.retries = Counter("tollgate_retries", "Attempts after the first one.", ["pool"], registry=registry)
        self.retries_denied = Counter(
            "tollgate_retries_denied", "Attempts that the retry budget did not allow.", ["pool"], registry=registry
        )
        self.fallbacks = Counter(
            "tollgate_fallbacks", "Requests handed to another model's release.", ["model", "release"], registry=registry
        )
        self.ungated = Counter(
            "tollgate_ungated", "Requests served without a verdict in `warn` mode.", ["release"], registry=registry
        )
        self.rule_errors = Counter(
            "tollgate_rule_errors",
            "Requests for which a rule could not be evaluated, and did not hold.",
            ["model", "rule"],
            registry=registry,
        )
        self.queue_refusals = Counter(
            "tollgate_queue_refusals",
            "Requests that found the queue of their pool full, or waited in vain.",
            ["pool", "reason"],
            registry=registry,
        )
        self.duration = self._histogram("request_seconds", "From admission to the last byte.", "model")
        self.first_byte = self._histogram("first_byte_seconds", "From admission to the first byte sent.", "model")
        self.queue_wait = self._histogram(
            "queue_wait_seconds",
            "What requests waited for a slot of their pool; those that went on at once do not count.",
            "pool",
        )
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
        self.queue_depth = self._gauge("queue_depth", "Requests that wait for a slot of a pool.", "livesum", "pool")
        self.open = self._gauge("open_requests", "Admitted and not yet settled.", "livesum")
        self.ledger_lag = self._gauge("ledger_lag_rows", "Settled rows not yet in the database.", "livesum")
        text = "What a replica's own counters have more than the ledger of the last hour; below zero, less."
        self._unaccounted = self._gauge("unaccounted_tokens", text, "livemostrecent", "replica", "kind")
        self.unspooled = self._counter("unspooled", "Requests served while memory alone could hold their rows.")
        text = "Configurations that a process took over or refused."
        self.config_reloads = self._counter("config_reloads", text, "result")
        self._about_budgets()
        self._noted: dict[tuple[str, str, str], _Noted] = {}

    def _about_budgets(self) -> None:
        self.budget_refusals = self._by_budget("refusals", "Requests that may have cost more than a budget has left.")
        self.budget_warnings = self._by_budget("warnings", "Requests served though a budget that warns was exceeded.")
        self.budget_unknown = self._by_budget("unknown", "Requests whose budgets could not be asked for.")
        self.budget_alerts = self._by_budget("alerts", "Thresholds that a budget's spending went over.", "threshold")
        self.budget_spent = self._gauge(
            "budget_spent_ratio", "The part that is spent; the largest where each has its own.", "livemax", "budget"
        )

    def _by_budget(self, name: str, text: str, *labels: str) -> Counter:
        return self._counter(f"budget_{name}", text, "budget", *labels)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"tollgate_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, label: str) -> Histogram:
        return Histogram(f"tollgate_{name}", text, [label], buckets=_SECONDS, registry=self.registry)

    def _gauge(self, name: str, text: str, mode: Mode, *labels: str) -> Gauge:
        """`mode` says what the gauges of several workers come to."""
        return Gauge(f"tollgate_{name}", text, labels, registry=self.registry, multiprocess_mode=mode)

    def rule_error(self, model: str, rule: str) -> None:
        """Count a rule that could not be evaluated for a request."""
        self.rule_errors.labels(model, rule).inc()

    def settled(self, row: LedgerRow) -> None:
        """Note a request that ended. It is counted by `count`, away from the hot path.

        Its numbers are kept and not its row: see `stores.spool.Spool.settle`.
        """
        key = (row.model, row.release, row.outcome)
        noted = self._noted.get(key)
        if noted is None:
            noted = self._noted[key] = _Noted()
        noted.durations.append(row.duration_s)
        if row.first_byte_s is not None:
            noted.first_bytes.append(row.first_byte_s)
        if row.input_tokens is not None:
            noted.input += row.input_tokens
            noted.cached += row.cached_tokens or 0
            noted.output += row.output_tokens or 0
            noted.unpriced += row.cost is None

    def count(self, most: int | None = None) -> bool:
        """Count what was noted: all, or `most` requests of one model, release and outcome. Whether some are left."""
        for (model, release, outcome), noted in list(self._noted.items())[: None if most is None else 1]:
            durations, first_bytes = noted.durations[:most], noted.first_bytes[:most]
            del noted.durations[:most], noted.first_bytes[:most]
            self.requests.labels(model, release, outcome).inc(len(durations))
            _observe(self.duration, model, durations)
            _observe(self.first_byte, model, first_bytes)
            for kind in ("input", "cached", "output"):
                if number := getattr(noted, kind):
                    self.tokens.labels(model, kind).inc(number)
            if noted.unpriced:
                self.unpriced.labels(model).inc(noted.unpriced)
            noted.input = noted.cached = noted.output = noted.unpriced = 0
            if not noted.durations and not noted.first_bytes:
                del self._noted[model, release, outcome]
        return bool(self._noted)

    def said(self, replica: str, kv_usage: float | None, waiting: int | None) -> None:
        """What an engine says of its load. What it does not say has no value: NaN, and never zero."""
        for gauge, value in zip(self._said, (kv_usage, waiting), strict=True):
            gauge.labels(replica).set(math.nan if value is None else value)

    def unaccounted(self, replica: str, kind: str, tokens: int | None) -> None:
        """How far a replica's own counters are from the ledger. What cannot be told has no value: NaN."""
        self._unaccounted.labels(replica, kind).set(math.nan if tokens is None else tokens)

    def gone(self, replica: str) -> None:
        """A replica that serves no more has no series. Those of workers stay, idle: their files can only grow."""
        for gauge in self._replica_gauges:
            if WORKERS_FOLDER not in os.environ:
                gauge.remove(replica)
            elif gauge is not self.up:  # 0 would say that it is down
                gauge.labels(replica).set(0)
        if WORKERS_FOLDER not in os.environ:
            self._unaccounted.remove_by_labels({"replica": replica})

    def page(self) -> bytes:
        """The metrics page in Prometheus's text format: the sums of all workers, where this process is one of them."""
        self.count()
        registry = self.registry
        if WORKERS_FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _observe(histogram: Histogram, model: str, seconds: Sequence[float]) -> None:
    if seconds:
        observe = histogram.labels(model).observe
        for each in seconds:
            observe(each)
