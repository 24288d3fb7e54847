"""A gauge's series that is about nothing any more: it is gone. What workers do is in `test_telemetry_workers.py`."""

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from gateway.gauges import forget


def test_every_series_with_the_labels_goes_and_the_others_stay() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("tokens", "How many.", ["replica", "kind"], registry=registry)
    for replica, kind in (("r1", "input"), ("r1", "output"), ("r10", "input")):
        gauge.labels(replica, kind).set(3)
    forget(gauge, replica="r1")
    forget(gauge, replica="never there")
    assert b'replica="r1"' not in (page := generate_latest(registry))
    assert b'tokens{kind="input",replica="r10"} 3.0' in page
