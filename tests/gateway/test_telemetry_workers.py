"""Several processes, one metrics page: what each of them counts is added up, and a dead one's gauges are forgotten."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from gateway.gauges import WORKERS_FOLDER

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
from gateway.telemetry import Telemetry
from tests.gateway.builders import settled
telemetry = Telemetry()
telemetry.settled(settled())
telemetry.in_flight.labels("r1").set(3)
telemetry.breaker.labels("r1").set(1)
telemetry.open.set(2)
telemetry.ledger_lag.set(1)
telemetry.config_reloads.labels("applied").inc()
telemetry.in_flight.labels("gone").set(3)
telemetry.up.labels("gone").set(0)
telemetry.unaccounted("gone", "output", 7)
telemetry.said("gone", None, None)
telemetry.gone("gone")
telemetry.said("r1", 0.5, None)
telemetry.hand_over()
print(telemetry.page().decode())
"""


def _worker(folder: Path) -> tuple[int, list[str]]:
    """(process id, the page that it ended with) of a worker that met one request."""
    env = {**os.environ, WORKERS_FOLDER: str(folder), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", WORKER], env=env, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return process.pid, out.splitlines()


def test_the_page_of_one_is_the_sum_of_all(tmp_path: Path) -> None:
    _worker(tmp_path)
    _, page = _worker(tmp_path)
    for line in (
        'tollgate_requests_total{model="faq",outcome="completed",release="faq@1"} 2.0',
        'tollgate_tokens_total{kind="input",model="faq"} 6.0',
        'tollgate_request_seconds_count{model="faq"} 2.0',
        'tollgate_in_flight{replica="r1"} 6.0',
        'tollgate_breaker_open{replica="r1"} 1.0',
        "tollgate_open_requests 4.0",
        'tollgate_replica_kv_usage{replica="r1"} 0.5',
        "tollgate_ledger_lag_rows 2.0",
        'tollgate_config_reloads_total{result="applied"} 2.0',
    ):
        assert line in page
    assert not [line for line in page if "gone" in line or line.endswith("NaN")]


def test_of_a_dead_one_only_its_counts_stay(tmp_path: Path) -> None:
    dead, _ = _worker(tmp_path)
    mark_process_dead(dead, str(tmp_path))  # type: ignore[no-untyped-call]
    _, page = _worker(tmp_path)
    assert 'tollgate_in_flight{replica="r1"} 3.0' in page
    assert 'tollgate_requests_total{model="faq",outcome="completed",release="faq@1"} 2.0' in page
