"""The pytest plugin, in a repository of its own: a pytest in another process that loads it by name."""

import os
import re
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
    "is_waived": "'waived.yaml', candidate='runs/b.jsonl'",
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
        write_gate(folder / f"{name}.yaml", about, at_least=at_least, gate=name)
    waiver = "waivers: [{metric: exact, owner: sre, reason: new GPUs, expires: 2999-01-01}]\n"
    (folder / "waived.yaml").write_text((folder / "strict.yaml").read_text() + waiver)
    tests = [f"def test_{name}(assert_gate):\n    assert_gate({call})\n" for name, call in CALLS.items()]
    (folder / "deep" / "test_gate.py").write_text("\n\n".join(tests))
    return folder


@pytest.fixture(scope="module")
def told(repository: Path) -> dict[str, str]:
    """What a pytest that was started in a folder below the root says of each test: nothing where it passed.

    Under "" all that it printed.
    """
    # The plugin by its module, and not a second time by its entry point where Tollgate is installed.
    named = ["-p", "no:tollgate", "-p", "evals.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *named, "--gate-reports", "out", "--junitxml", "junit.xml"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    done = subprocess.run(
        command, cwd=repository / "deep", env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1, done.stdout + done.stderr
    cases = ElementTree.parse(repository / "deep" / "junit.xml").iter("testcase")
    return {case.attrib["name"]: "".join(part.text or "" for part in case) for case in cases} | {"": done.stdout}


def test_a_passing_gate_is_a_passing_test_and_its_reports_stand_under_the_root(
    repository: Path, told: dict[str, str]
) -> None:
    assert told.keys() == {"", *(f"test_{name}" for name in CALLS)}
    assert {name for name, said in told.items() if not said} == {
        "test_passes",
        "test_needs_no_baseline",
        "test_is_waived",
    }
    assert (repository / "out" / "gate" / "faq@2.md").exists()


def test_gates_of_one_release_do_not_write_over_each_others_reports(repository: Path, told: dict[str, str]) -> None:
    del told
    first = {path.parent.name: path.read_text().splitlines()[0] for path in (repository / "out").glob("*/faq@2.md")}
    assert first["gate"] == "# pass: faq@2"
    assert first["close"] == "# inconclusive: faq@2"


@pytest.mark.parametrize(("name", "answer"), [("fails", "fail"), ("is_inconclusive", "inconclusive")])
def test_anything_but_a_pass_fails_with_the_report(told: dict[str, str], name: str, answer: str) -> None:
    said = told[f"test_{name}"]
    assert f" says {answer}: " in said
    assert f"# {answer}: faq@2" in said
    assert "pytest_plugin.py" not in said


def test_what_keeps_a_gate_from_deciding_fails(told: dict[str, str]) -> None:
    assert "gate 'other' says invalid: the evidence cannot carry a verdict" in told["test_is_invalid"]
    assert "the gate cannot decide: " in told["test_has_no_log"]
    assert told["test_has_no_log"].count("no readable run log") == 1
    assert "another exception occurred" not in told[""]
    assert "TypeError" in told["test_has_a_wrong_name"]


def test_the_function_works_without_the_fixture(repository: Path) -> None:
    decision = assert_gate(repository / "gate.yaml", candidate=repository / "runs" / "b.jsonl")
    assert decision.answer == "pass"
    with pytest.raises(pytest.fail.Exception, match="says fail"):
        assert_gate(repository / "strict.yaml", candidate=repository / "runs" / "b.jsonl")


def test_a_waiver_is_a_warning_of_its_own_at_the_line_of_the_test(repository: Path, told: dict[str, str]) -> None:
    assert issubclass(GateWaived, UserWarning)
    assert re.search(
        r"deep/test_gate\.py:\d+: GateWaived: gate 'strict' is waived: exact: fail, waived by sre", told[""]
    )
    with pytest.warns(GateWaived) as caught:
        assert_gate(repository / "waived.yaml", candidate=repository / "runs" / "b.jsonl")
    assert caught[0].filename == __file__


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
