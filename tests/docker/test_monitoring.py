"""Alerts and the dashboard ask for metrics that are there: on the gateway's own page, and on one of a real vLLM."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gateway.telemetry import Telemetry
from tests.docker.stack import DOCKER, ROOT

ALERTS = DOCKER / "prometheus" / "alerts.yml"
DASHBOARD = DOCKER / "grafana" / "dashboards" / "tollgate.json"
NAMES = re.compile(r"\btollgate_[a-z_]+|vllm:[a-z_]+")
LABELS = re.compile(r"by \(([a-z_, ]+)\)")
OF_PROMETHEUS = {"instance", "job", "le"}


def _rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [each for each in panels if each["type"] != "row"]


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in _rules():
        yield rule["alert"], rule["expr"]
    for panel in _panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def _families() -> dict[str, set[str]]:
    """Every series of the gateway's page, with its labels."""
    found = {}
    for metric in Telemetry().registry._collector_to_names:
        base, labels = metric._name, set(metric._labelnames)
        ends = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[metric._type]
        found.update({f"{base}{end}": labels for end in ends})
    return found


@pytest.mark.parametrize(("where", "expression"), list(_expressions()))
def test_what_is_asked_for_is_there(where: str, expression: str) -> None:
    families = _families()
    engine = (ROOT / "tests" / "samples" / "metrics.txt").read_text(encoding="utf-8")
    engines = set(re.findall(r"^(vllm:[a-z_]+)\{", engine, re.MULTILINE))
    names = set(NAMES.findall(expression))
    assert names or "up{" in expression, where
    assert names <= families.keys() | engines, where
    allowed = OF_PROMETHEUS.union(*(families.get(name, set()) for name in names))
    asked = {label.strip() for group in LABELS.findall(expression) for label in group.split(",")}
    assert asked <= allowed, where


def test_every_metric_of_the_gateway_is_on_the_dashboard() -> None:
    shown = {name for panel in _panels() for target in panel["targets"] for name in NAMES.findall(target["expr"])}
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in _families()}
    assert bases - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == set()


def test_every_alert_says_how_urgent_it_is_and_what_it_means() -> None:
    names = [rule["alert"] for rule in _rules()]
    assert len(names) == len(set(names)) > 10
    for rule in _rules():
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        labels = set(re.findall(r"\$labels\.([a-z_]+)", rule["annotations"]["summary"]))
        kept = {label.strip() for group in LABELS.findall(rule["expr"]) for label in group.split(",")}
        assert labels <= kept | {"instance"}, rule["alert"]


def test_the_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    folder = DOCKER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text(encoding="utf-8"))["datasources"]
    assert {panel["datasource"]["uid"] for panel in _panels()} == {source["uid"]}
    ids = [panel["id"] for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]]
    assert len(ids) == len(set(ids))


def test_prometheus_looks_at_gateways_and_engines() -> None:
    jobs = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    found = {job["job_name"]: job["dns_sd_configs"][0] for job in jobs}
    assert (found["tollgate"]["names"], found["tollgate"]["port"]) == (["gateway"], 8080)
    assert (found["vllm"]["names"], found["vllm"]["port"]) == (["vllm"], 8000)


@pytest.mark.parametrize("command", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts.test.yml")])
def test_prometheus_own_tool_reads_the_rules_and_they_fire(command: tuple[str, ...]) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    done = subprocess.run(
        [tool, *command], cwd=DOCKER / "prometheus", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
