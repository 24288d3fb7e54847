"""Gauges whose series go when what they are about goes, alone and among workers.

Workers tell each other by files, and a file of the client library can only grow: there a series that is gone has no
value, which is NaN, and the page of all leaves out what has none.
"""

import math
import os
from collections.abc import Iterable

from prometheus_client import Gauge, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

WORKERS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which workers share their metrics. It counts when this module is loaded."""


def forget(gauge: Gauge, **labels: str) -> None:
    """Its series with these labels are about nothing any more."""
    if WORKERS_FOLDER not in os.environ:
        gauge.remove_by_labels(labels)
        return
    for sample in [each for metric in gauge.collect() for each in metric.samples]:
        if labels.items() <= sample.labels.items():
            gauge.labels(**sample.labels).set(math.nan)


class OfAllWorkers(Collector):
    """What the workers come to together, without what has no value."""

    def collect(self) -> Iterable[Metric]:
        """Read their files."""
        for metric in MultiProcessCollector(None).collect():  # type: ignore[no-untyped-call]
            metric.samples = [each for each in metric.samples if not math.isnan(each.value)]
            yield metric
