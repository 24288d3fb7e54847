"""A parent counts on the page that its workers share."""

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.admin.counting import NAME, shared
from gateway.telemetry import ADMIN


def _page(folder: Path) -> str:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    return generate_latest(registry).decode()


def test_every_result_is_there_from_zero_on_and_counts(tmp_path: Path) -> None:
    with shared(tmp_path) as count:
        for result in ADMIN:
            assert f'{NAME}{{result="{result}"}} 0.0' in _page(tmp_path)
        count("changed")
        count("changed")
        count("unauthorized")
    page = _page(tmp_path)
    assert f'{NAME}{{result="changed"}} 2.0' in page
    assert f'{NAME}{{result="unauthorized"}} 1.0' in page
    assert f'{NAME}{{result="read"}} 0.0' in page
    assert f"# TYPE {NAME} counter" in page
