"""The base for Kubernetes: what Pod Security calls restricted, drained, and closed to whoever is not named."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from gateway.cli.serve import DRAIN
from tests.docker.stack import DOCKER, KUBERNETES, Tree, manifest, manifests, services

LABELS = {"app.kubernetes.io/name": "tollgate", "app.kubernetes.io/component": "gateway"}


def _pod() -> Tree:
    pod: Tree = manifest("Deployment")["spec"]["template"]["spec"]
    return pod


def _container() -> Tree:
    (container,) = _pod()["containers"]
    found: Tree = container
    return found


def test_pods_are_what_the_restricted_standard_asks_for() -> None:
    labels = manifest("Namespace", "tollgate")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod, container = _pod(), _container()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert not any("hostPath" in volume for volume in pod["volumes"])


def test_a_pod_drains_before_it_is_cut() -> None:
    grace = 45.0  # `--grace` of the image: tests/docker/test_images.py
    (before,) = (float(each["value"]) for each in _container()["env"] if each["name"] == DRAIN)
    assert before >= 5
    assert _pod()["terminationGracePeriodSeconds"] >= before + grace + 10
    assert manifest("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_every_probe_asks_a_page_of_the_gateway() -> None:
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert _container()[name]["httpGet"] == {"path": "/health", "port": "http"}
    assert _container()["ports"] == [{"name": "http", "containerPort": 8080}]


def test_secrets_are_referred_to_and_made_by_the_script() -> None:
    assert not [each for _, each in manifests() if each["kind"] == "Secret"]
    for variable in _container()["env"]:
        if variable["name"] == DRAIN:
            continue
        assert variable["name"].endswith("_FILE")
        assert variable["value"].startswith("/run/secrets/tollgate/")
    script = (DOCKER / "secrets.sh").read_text(encoding="utf-8")
    config = (KUBERNETES / "gateway.yaml").read_text(encoding="utf-8")
    wanted = set(re.findall(r"/run/secrets/tollgate/([a-z_]+)", config)) | {"postgres_password"}
    assert all(re.search(rf"\b{name}\b", script) for name in wanted)


def test_what_selects_pods_selects_these() -> None:
    spec = manifest("Deployment")["spec"]
    assert spec["template"]["metadata"]["labels"] == LABELS
    assert spec["selector"]["matchLabels"] == LABELS
    assert manifest("Service")["spec"]["selector"] == LABELS
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == LABELS
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == LABELS
    assert manifest("ServiceMonitor")["spec"]["selector"]["matchLabels"] == manifest("Service")["metadata"]["labels"]
    (endpoint,) = manifest("ServiceMonitor")["spec"]["endpoints"]
    (port,) = manifest("Service")["spec"]["ports"]
    assert (endpoint["port"], endpoint["path"], port["name"]) == ("http", "/metrics", "http")
    mounted = {mount["name"] for mount in _container()["volumeMounts"]}
    assert mounted == {volume["name"] for volume in _pod()["volumes"]}


def test_gateways_are_scaled_by_what_waits() -> None:
    spec = manifest("HorizontalPodAutoscaler")["spec"]
    assert spec["minReplicas"] >= 2
    assert "replicas" not in manifest("Deployment")["spec"], "two would say how many there are"
    (name,) = [each["pods"]["metric"]["name"] for each in spec["metrics"] if each["type"] == "Pods"]
    adapter = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text(encoding="utf-8"))
    (rule,) = adapter["rules"]["custom"]
    assert rule["name"]["as"] == name == "tollgate_queue_depth"  # of the table: tests/docker/test_monitoring.py


def test_nobody_reaches_what_is_not_named_for_them() -> None:
    everyone = manifest("NetworkPolicy", "nobody")["spec"]
    assert everyone == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    engines = manifest("NetworkPolicy", "engines")["spec"]
    (ingress,) = engines["ingress"]
    assert [each["podSelector"]["matchLabels"] for each in ingress["from"]] == [
        LABELS,
        {"app.kubernetes.io/name": "prometheus"},
    ]
    assert "egress" not in engines
    (state,) = manifest("NetworkPolicy", "state")["spec"]["ingress"]
    assert [each["podSelector"]["matchLabels"] for each in state["from"]] == [LABELS]
    ports = {port["port"] for rule in manifest("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]}
    assert ports == {53, 8000, 5432, 6379}


def test_the_base_names_every_file_that_it_has() -> None:
    base = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
    (generated,) = base["configMapGenerator"]
    apart = {"kustomization.yaml", "prometheus-adapter.yaml"}
    named = {*base["resources"], *generated["files"]} | apart
    assert named == {path.name for path in KUBERNETES.iterdir()}
    (image,) = base["images"]
    assert services()["gateway"]["image"] == f"{image['name']}:{image['newTag']}"
    assert _container()["image"] == image["name"]


@pytest.mark.parametrize("name", ["faq-1.yaml", "prices.yaml"])
def test_what_both_stacks_have_is_the_same(name: str) -> None:
    """A base reads no file outside of its folder, so that each has its own."""
    assert (KUBERNETES / name).read_text(encoding="utf-8") == (DOCKER / "gateway" / name).read_text(encoding="utf-8")


def _validated() -> list[Path]:
    return sorted({KUBERNETES / name for name, _ in manifests()})


@pytest.mark.parametrize("path", _validated(), ids=lambda path: path.name)
def test_the_api_would_take_it(path: Path) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate, which has the schemas of Kubernetes, is not installed")
    import kubernetes_validate

    for each in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if each["kind"] != "ServiceMonitor":  # the operator's own, not Kubernetes'
            kubernetes_validate.validate(each, "1.33", strict=True)
