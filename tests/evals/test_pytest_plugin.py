"""The pytest plugin, in a repository of its own: a pytest in another process that loads it by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evals.pytest_plugin import GateWaived, assert_gate
from tests.evals.logs_of import write_gate, write_log

ROOT = Path(__file__).parents[2]
TEST = "def test_release(assert_gate):\n    assert_gate('gate.yaml', candidate='runs/b.jsonl'{more})\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a log, 90 of 100 right, and a gate."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    digest = write_log(tmp_path / "runs" / "b.jsonl", [1.0] * 90 + [0.0] * 10)
    write_gate(tmp_path / "gate.yaml", digest, at_least=0.5)
    return tmp_path


def _pytest(repository: Path, *flags: str, more: str = "") -> subprocess.CompletedProcess[str]:
    (repository / "test_gate.py").write_text(TEST.format(more=more))
    # The plugin by its module, and not a second time by its entry point where Tollgate is installed.
    named = ["-p", "no:tollgate", "-p", "evals.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *named, *flags]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    return subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, check=False, timeout=120)


def _ask(repository: Path, at_least: float) -> None:
    digest = (repository / "gate.yaml").read_text().split("'")[1]
    write_gate(repository / "gate.yaml", digest, at_least=at_least)


def test_a_passing_gate_is_a_passing_test(repository: Path) -> None:
    done = _pytest(repository, "--gate-reports", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert (repository / "out" / "faq@2.md").exists()


def test_paths_count_from_the_root_wherever_pytest_is_started(repository: Path) -> None:
    (repository / "deep").mkdir()
    (repository / "deep" / "test_it.py").write_text(TEST.format(more=""))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:tollgate",
        "-p",
        "evals.pytest_plugin",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=repository / "deep", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("at_least", "answer"), [(0.99, "fail"), (0.88, "inconclusive")])
def test_anything_but_a_pass_fails_with_the_report(repository: Path, at_least: float, answer: str) -> None:
    _ask(repository, at_least)
    done = _pytest(repository)
    assert done.returncode == 1
    assert f"gate 'g' says {answer}: " in done.stdout
    assert f"# {answer}: faq@2" in done.stdout
    assert "pytest_plugin.py" not in done.stdout


def test_an_invalid_gate_and_a_missing_log_fail(repository: Path) -> None:
    write_gate(repository / "gate.yaml", "sha256:" + "0" * 64, at_least=0.5)
    assert "gate 'g' says invalid: the evidence cannot carry a verdict" in _pytest(repository).stdout
    (repository / "runs" / "b.jsonl").unlink()
    done = _pytest(repository)
    assert done.returncode == 1
    assert "the gate cannot decide: " in done.stdout
    assert "no readable run log" in done.stdout


def test_a_baseline_that_was_not_needed_is_fine_and_a_wrong_name_is_not(repository: Path) -> None:
    assert _pytest(repository, more=", baseline='runs/b.jsonl'").returncode == 0
    done = _pytest(repository, more=", candidates='runs/b.jsonl'")
    assert (done.returncode, "TypeError" in done.stdout) == (1, True)


def test_the_function_works_without_the_fixture(repository: Path) -> None:
    decision = assert_gate(repository / "gate.yaml", candidate=repository / "runs" / "b.jsonl")
    assert decision.answer == "pass"
    _ask(repository, 0.99)
    with pytest.raises(pytest.fail.Exception, match="says fail"):
        assert_gate(repository / "gate.yaml", candidate=repository / "runs" / "b.jsonl")


def test_a_waiver_is_a_warning_of_its_own() -> None:
    assert issubclass(GateWaived, UserWarning)


def test_the_plugin_loads_nothing_of_the_harness() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import evals.pytest_plugin; "
        "print(sorted(name for name in set(sys.modules) - before))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in eval(done.stdout)}
    assert loaded <= {"evals", "importlib", "datetime", "_datetime", "_strptime"}, loaded
    assert "evals.assertions" not in done.stdout
