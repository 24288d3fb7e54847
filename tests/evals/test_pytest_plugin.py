"""The pytest plugin, in a repository of its own: a pytest in another process that loads it by name."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evals.pytest_plugin import GateWaived, assert_gate
from tests.evals.logs_of import write_gate, write_log

ROOT = Path(__file__).parents[2]
CALLS = {
    "passes": "'gate.yaml', candidate='runs/b.jsonl'",
    "needs_no_baseline": "'gate.yaml', candidate='runs/b.jsonl', baseline='runs/b.jsonl'",
    "fails": "'strict.yaml', candidate='runs/b.jsonl'",
    "is_inconclusive": "'close.yaml', candidate='runs/b.jsonl'",
    "is_invalid": "'other.yaml', candidate='runs/b.jsonl'",
    "has_no_log": "'gate.yaml', candidate='runs/none.jsonl'",
    "has_a_wrong_name": "'gate.yaml', candidates='runs/b.jsonl'",
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a log, 90 of 100 right, gates for it and for other data, and a test of each."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "runs").mkdir()
    (folder / "deep").mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    digest = write_log(folder / "runs" / "b.jsonl", [1.0] * 90 + [0.0] * 10)
    for name, about, at_least in (
        ("gate", digest, 0.5), ("strict", digest, 0.99), ("close", digest, 0.88), ("other", "sha256:" + "0" * 64, 0.5)
    ):  # fmt: skip
        write_gate(folder / f"{name}.yaml", about, at_least=at_least)
    tests = [f"def test_{name}(assert_gate):\n    assert_gate({call})\n" for name, call in CALLS.items()]
    (folder / "deep" / "test_gate.py").write_text("\n\n".join(tests))
    return folder


@pytest.fixture(scope="module")
def told(repository: Path) -> dict[str, str]:
    """What a pytest that was started in a folder below the root says of each test: nothing where it passed."""
    # The plugin by its module, and not a second time by its entry point where Tollgate is installed.
    named = ["-p", "no:tollgate", "-p", "evals.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *named, "--gate-reports", "out", "--junitxml", "junit.xml"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    done = subprocess.run(
        command, cwd=repository / "deep", env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1, done.stdout + done.stderr
    cases = ElementTree.parse(repository / "deep" / "junit.xml").iter("testcase")
    return {case.attrib["name"]: "".join(part.text or "" for part in case) for case in cases}


def test_a_passing_gate_is_a_passing_test_and_its_reports_stand_under_the_root(
    repository: Path, told: dict[str, str]
) -> None:
    assert told.keys() == {f"test_{name}" for name in CALLS}
    assert {name for name, said in told.items() if not said} == {"test_passes", "test_needs_no_baseline"}
    assert (repository / "out" / "faq@2.md").exists()


@pytest.mark.parametrize(("name", "answer"), [("fails", "fail"), ("is_inconclusive", "inconclusive")])
def test_anything_but_a_pass_fails_with_the_report(told: dict[str, str], name: str, answer: str) -> None:
    said = told[f"test_{name}"]
    assert f"gate 'g' says {answer}: " in said
    assert f"# {answer}: faq@2" in said
    assert "pytest_plugin.py" not in said


def test_what_keeps_a_gate_from_deciding_fails(told: dict[str, str]) -> None:
    assert "gate 'g' says invalid: the evidence cannot carry a verdict" in told["test_is_invalid"]
    assert "the gate cannot decide: " in told["test_has_no_log"]
    assert "no readable run log" in told["test_has_no_log"]
    assert "TypeError" in told["test_has_a_wrong_name"]


def test_the_function_works_without_the_fixture(repository: Path) -> None:
    decision = assert_gate(repository / "gate.yaml", candidate=repository / "runs" / "b.jsonl")
    assert decision.answer == "pass"
    with pytest.raises(pytest.fail.Exception, match="says fail"):
        assert_gate(repository / "strict.yaml", candidate=repository / "runs" / "b.jsonl")


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
