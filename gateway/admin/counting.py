"""Requests of the admin port on the page that workers share: counted by their parent, which has no page of its own."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict, mmap_key

from gateway.telemetry import ADMIN, Telemetry

NAME = "tollgate_admin_requests_total"


@contextmanager
def shared(folder: Path) -> Iterator[Callable[[str], None]]:
    """Counts a result where workers keep their metrics: any of them shows it."""
    (metric,) = (each for each in Telemetry().table if each.name == NAME)
    file = MmapedDict(str(folder / f"counter_{os.getpid()}.db"))  # type: ignore[no-untyped-call]
    counts = dict.fromkeys(ADMIN, 0.0)

    def count(result: str) -> None:
        key = mmap_key(NAME.removesuffix("_total"), NAME, list(metric.labels), [result], metric.text)
        file.write_value(key, counts[result], time.time())  # type: ignore[no-untyped-call]

    def counted(result: str) -> None:
        counts[result] += 1
        count(result)

    for result in ADMIN:
        count(result)
    try:
        yield counted
    finally:
        file.close()  # type: ignore[no-untyped-call]
