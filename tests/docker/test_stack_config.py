"""The stacks' own configurations are valid, and say of the engine what its command says."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from gateway import config
from gateway.contracts import release
from tests.docker.stack import DOCKER, ROOT, services, steps

STACKS = ["gateway", "kubernetes"]


@pytest.mark.parametrize("stack", STACKS)
def test_a_configuration_is_valid_and_its_secrets_are_files(stack: str) -> None:
    found = config.load(DOCKER / stack / "gateway.yaml").config
    assert found.database == "postgresql://tollgate@postgres/tollgate"
    assert str(found.ledger.spool) == "/var/lib/tollgate/spool"
    assert found.redis is not None
    secrets = [found.redis.password, found.routing.hash_key]
    secrets += [replica.api_key for pool in found.pools.values() for replica in pool.replicas]
    for secret in secrets:
        assert secret is not None
        assert str(secret.file).startswith("/run/secrets/")
    assert found.listen.host == "0.0.0.0"


def test_what_the_stack_mounts_is_what_its_configuration_names() -> None:
    found = config.load(DOCKER / "gateway" / "gateway.yaml").config
    gateway = services()["gateway"]
    assert found.redis is not None
    assert found.redis.password is not None
    for secret in (found.redis.password, *(replica.api_key for replica in found.pools["cpu"].replicas)):
        assert secret is not None
        assert secret.file is not None
        assert secret.file.name in gateway["secrets"]
    assert gateway["environment"]["PGPASSWORD_FILE"].rpartition("/")[2] in gateway["secrets"]
    hosts = {replica.url for pool in found.pools.values() for replica in pool.replicas}
    assert hosts == {"http://vllm:8000"}


def test_the_release_is_the_model_that_the_engine_is_given_with_its_flags() -> None:
    manifest = release.load(DOCKER / "gateway" / "faq-1.yaml")
    model = ROOT / "datasets" / "orbit-faq" / "model"
    release.verify_files(manifest, model)
    assert set(manifest.model.files) == {path.name for path in model.iterdir()}
    engine = services()["vllm"]
    assert engine["volumes"] == ["../datasets/orbit-faq/model:/models/faq:ro"]
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in manifest.engine.flags.items()]
    assert set(flags) <= set(engine["command"])
    version = f'version="{manifest.engine.version}"'
    assert any(version in each.text for each in steps("vllm-cpu.Dockerfile") if each.name == "LABEL")


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script = [str(DOCKER / "secrets.sh"), str(folder)]
    first = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    wanted = {name for service in services().values() for name in service.get("secrets", [])}
    assert made.keys() == wanted
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(set(made.values())) == len(made)
    values = [value.strip() for name, value in made.items() if name not in ("redis_conf", "evaluate_key")]
    assert all(len(value) == 64 for value in values)
    assert made["redis_conf"] == f"requirepass {made['redis_password']}"
    assert not any(value in first.stdout for value in values)
    again = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60)
    assert again.stdout == ""
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_pins_that_moved_are_told_and_written(tmp_path: Path) -> None:
    """With a registry of the test's own: `skopeo inspect --raw` prints a manifest, and its hash is the digest."""
    tool = tmp_path / "bin" / "skopeo"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nprintf 'the manifest of %s' \"$3\"\n")
    tool.chmod(0o755)
    names = ("pin.sh", "Dockerfile", "vllm-cpu.Dockerfile", "compose.yaml", "compose.gpu.yaml")
    for name in names:
        (tmp_path / name).write_bytes((DOCKER / name).read_bytes())
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"}

    def pin(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(tmp_path / "pin.sh"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    moved = pin()
    assert (moved.returncode, moved.stdout.count("->")) == (1, 7), moved.stderr
    assert (tmp_path / "compose.yaml").read_bytes() == (DOCKER / "compose.yaml").read_bytes()
    assert pin("--write").returncode == 0
    assert pin().returncode == 0
    redis = hashlib.sha256(b"the manifest of docker://redis:8.2.7-bookworm").hexdigest()
    assert f"redis:8.2.7-bookworm@sha256:{redis}" in (tmp_path / "compose.yaml").read_text()
    assert pin("--nonsense").returncode == 2
