"""The stack: every service hardened, every image pinned, and nobody on a network who has no business there."""

import re

import pytest

from tests.docker.stack import DOCKER, DOCKERFILES, Tree, composed, services

STACKS = [("compose.yaml",), ("compose.yaml", "compose.gpu.yaml")]
JOBS = {"evals"}
PINNED = re.compile(r"[a-z0-9/-]+:[A-Za-z0-9._-]*\d[A-Za-z0-9._-]*@sha256:[0-9a-f]{64}")
PUBLISHED = {"gateway": ["127.0.0.1:8080:8080"], "grafana": ["127.0.0.1:3000:3000"]}


def _each() -> list[object]:
    return [
        pytest.param(one, id=f"{name} of {len(files)}") for files in STACKS for name, one in services(*files).items()
    ]


@pytest.mark.parametrize("service", _each())
def test_every_service_is_hardened(service: Tree) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), "a number that is not root's"
    assert service["pids_limit"] > 0
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert not {"privileged", "network_mode", "pid", "ipc", "devices", "userns_mode"} & service.keys()


@pytest.mark.parametrize("files", STACKS, ids=len)
def test_images_of_others_are_pinned_and_our_own_are_built(files: tuple[str, ...]) -> None:
    for name, service in services(*files).items():
        if "build" in service:
            assert re.fullmatch(r"tollgate/[a-z-]+:\d+\.\d+\.\d+", service["image"]), name
        else:
            assert PINNED.fullmatch(service["image"]), name


def test_a_tag_has_one_digest_everywhere() -> None:
    found: dict[str, set[str]] = {}
    for name in (*DOCKERFILES, "compose.yaml", "compose.gpu.yaml"):
        for pinned in PINNED.findall((DOCKER / name).read_text(encoding="utf-8")):
            tag, digest = pinned.split("@")
            found.setdefault(tag, set()).add(digest)
    assert len(found) == 7, found.keys()
    assert all(len(digests) == 1 for digests in found.values())


@pytest.mark.parametrize("files", STACKS, ids=len)
def test_only_two_ports_are_published_and_to_loopback_alone(files: tuple[str, ...]) -> None:
    published = {name: service["ports"] for name, service in services(*files).items() if "ports" in service}
    assert published == PUBLISHED


@pytest.mark.parametrize("files", STACKS, ids=len)
def test_who_shares_a_network(files: tuple[str, ...]) -> None:
    on: dict[str, set[str]] = {}
    for name, service in services(*files).items():
        for network in service["networks"]:
            on.setdefault(network, set()).add(name)
    assert on == {
        "edge": {"gateway", "grafana", "evals"},
        "engines": {"gateway", "vllm"},
        "state": {"gateway", "postgres", "redis"},
        "vectors": {"evals", "qdrant"},
        "watch": {"gateway", "prometheus", "grafana"},
        "scrape": {"prometheus", "vllm"},
    }
    inside = {name for name, network in composed(*files)["networks"].items() if network.get("internal")}
    assert inside == on.keys() - {"edge"}


def test_whoever_serves_says_how_it_is_and_whoever_needs_it_waits_for_that() -> None:
    everyone = services()
    for name, service in everyone.items():
        if name not in JOBS | {"gateway"}:  # the gateway's own image says it
            check = service["healthcheck"]
            assert check["test"][0] in ("CMD", "CMD-SHELL"), name
            assert check["start_period"] != check["timeout"], name
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, f"{name} on {needed}"
    assert everyone["gateway"]["depends_on"].keys() == {"postgres", "redis", "vllm"}


def test_a_gateway_that_is_stopped_gets_longer_than_its_streams() -> None:
    assert int(services()["gateway"]["stop_grace_period"].removesuffix("s")) >= 45 + 10


@pytest.mark.parametrize("service", _each())
def test_no_secret_is_a_variable_or_an_argument(service: Tree) -> None:
    environment = service.get("environment", {})
    for name, value in environment.items():
        secret = re.search(r"PASSWORD|SECRET|TOKEN|_KEY", name)
        assert not secret or str(value).startswith("/run/secrets/"), name
    for each in service.get("command", []):
        assert not re.search(r"requirepass|api-key|password=", str(each)), each
    assert service.get("build", {}).get("args", {}).keys() <= {"TORCH_INDEX"}


def test_every_secret_is_a_file_that_the_script_makes() -> None:
    whole = composed()
    script = (DOCKER / "secrets.sh").read_text(encoding="utf-8")
    used = {name for service in services().values() for name in service.get("secrets", [])}
    assert used == whole["secrets"].keys()
    for name, where in whole["secrets"].items():
        assert where == {"file": f"./secrets/{name}"}
        assert re.search(rf"\b{name}\b", script)


def test_what_is_mounted_of_the_repository_is_there_and_cannot_be_written() -> None:
    named = set()
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                assert (DOCKER / source).exists(), f"{name}: {source}"
                assert rest.endswith(":ro"), f"{name}: {source}"
            else:
                named.add(source)
    assert named == composed()["volumes"].keys()


def test_gpus_are_asked_for_by_the_overlay_alone_and_by_name() -> None:
    assert "deploy" not in services()["vllm"]
    gpu = services("compose.yaml", "compose.gpu.yaml")["vllm"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}
    assert "build" not in gpu
    assert gpu["image"].startswith("vllm/vllm-openai:v")
    assert [each.split(":")[0] for each in gpu["tmpfs"]] == ["/tmp"]
