"""The templates for continuous integration: valid by the systems' own schemas, and their steps run for real."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals import dataset
from gateway.contracts import attestation
from tests.evals.cli.conftest import completion, serve  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[1]
CI = ROOT / "configs" / "ci"
EXITS = [("pass", 0), ("fail", 1), ("inconclusive", 2)]
Serve = Callable[..., str]


@pytest.mark.parametrize(
    ("file", "schema"), [("github-actions.yml", "vendor.github-workflows"), ("gitlab-ci.yml", "vendor.gitlab-ci")]
)
def test_a_template_is_valid_by_its_systems_schema(file: str, schema: str) -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        reason = "check-jsonschema, which holds the schemas, is not installed: it is in the group `dev`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(CI / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def _github() -> dict[str, Any]:
    held: dict[str, Any] = yaml.safe_load((CI / "github-actions.yml").read_text(encoding="utf-8"))
    return held


def _gitlab() -> dict[str, Any]:
    held: dict[str, Any] = yaml.safe_load((CI / "gitlab-ci.yml").read_text(encoding="utf-8"))["release-gate"]
    return held


@dataclass
class Repository:
    """A user's repository, with a gateway to ask; `env` is what the system would set."""

    folder: Path
    env: dict[str, str]

    def bash(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A step as GitHub runs it."""
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script, "step"]
        return self._run(command, more)

    def sh(self, lines: list[str]) -> subprocess.CompletedProcess[str]:
        """A script as GitLab runs it: the first line that fails ends it."""
        return self._run(["sh", "-ec", "\n".join(lines)], {})

    def _run(self, command: list[str], more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.env, **more}
        return subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=False, timeout=120
        )

    def names(self) -> set[str]:
        """The files of the verdict."""
        return {path.name for path in (self.folder / "verdicts").glob("*")}


@pytest.fixture
def repository(tmp_path: Path, serve: Serve) -> Callable[[str], Repository]:  # noqa: F811
    """`repository("fail")`: one whose candidate leads to this answer."""

    def made(answer: str) -> Repository:
        wrong = {"pass": 0, "fail": 30, "inconclusive": 4}[answer]

        def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            number = int(body["messages"][-1]["content"].split()[-1])
            return completion("no" if number < wrong else str(number))

        folder, temp = tmp_path / "repository", tmp_path / "temp"
        folder.mkdir()
        temp.mkdir()
        lines = [f'{{"id": "q{n}", "input": "number {n}", "reference": "{n}"}}\n' for n in range(30)]
        (folder / "d.jsonl").write_text("".join(lines))
        (folder / "suite.yaml").write_text("suite: s\ndataset: d.jsonl\nscorers: [{name: exact}]\n")
        digest = dataset.load(folder / "d.jsonl").digest
        (folder / "gate.yaml").write_text(
            f"gate: g\nsuite: s\ndataset: d.jsonl\ndataset_sha256: '{digest}'\n"
            "metrics: [{metric: exact, test: absolute, at_least: 0.8}]\n"
        )
        attestation.generate_keys(temp / "key.pem", temp / "key.pub")
        env = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RUNNER_TEMP": str(temp),
            "GITHUB_STEP_SUMMARY": str(temp / "summary.md"),
            "GITHUB_REPOSITORY": "team/repository",
            "TOLLGATE_URL": serve(reply),
            "TOLLGATE_API_KEY": "unused",
            "CANDIDATE": "faq@2",
            "BASELINE": "",
            "TOLLGATE_CANDIDATE": "faq@2",
            "TOLLGATE_BASELINE": "",
            "TOLLGATE_SIGNING_KEY": "",
            "SIGNING_KEY": "",
        }
        return Repository(folder, env)

    return made


def _steps() -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in _github()["jobs"]["gate"]["steps"] if "run" in step}


@pytest.mark.parametrize(("answer", "code"), EXITS)
def test_the_steps_on_github_end_as_the_gate_says(
    repository: Callable[..., Repository], answer: str, code: int
) -> None:
    there, steps = repository(answer), _steps()
    ran = there.bash(steps["Run the suite"]["run"])
    assert ran.returncode == 0, ran.stderr
    gated = there.bash(steps["Gate"]["run"])
    assert gated.returncode == code, gated.stdout + gated.stderr
    assert {"faq@2.md", "faq@2.junit.xml"} <= there.names()
    assert not any(name.endswith(".dsse.json") for name in there.names())
    assert there.bash(steps["Summary"]["run"]).returncode == 0
    assert (Path(there.env["RUNNER_TEMP"]) / "summary.md").read_text().startswith(f"# {answer}: faq@2")


def test_the_key_on_github_signs_and_is_gone(repository: Callable[..., Repository]) -> None:
    there, steps = repository("pass"), _steps()
    key = (Path(there.env["RUNNER_TEMP"]) / "key.pem").read_text()
    there.bash(steps["Run the suite"]["run"], BASELINE="faq@1")
    gated = there.bash(steps["Gate"]["run"], SIGNING_KEY=key)
    assert gated.returncode == 0, gated.stderr
    assert "faq@2.dsse.json" in there.names()
    assert not (Path(there.env["RUNNER_TEMP"]) / "gate.pem").exists()


def test_the_comment_on_github_is_the_markdown(repository: Callable[..., Repository], tmp_path: Path) -> None:
    there, steps = repository("fail"), _steps()
    there.bash(steps["Run the suite"]["run"])
    there.bash(steps["Gate"]["run"])
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "gh").write_text('#!/bin/sh\necho "$@" > "$RUNNER_TEMP/asked"\n')
    (tools / "gh").chmod(0o755)
    done = there.bash(steps["Comment"]["run"], NUMBER="7", PATH=f"{tools}{os.pathsep}{there.env['PATH']}")
    assert done.returncode == 0, done.stderr
    temp = Path(there.env["RUNNER_TEMP"])
    assert (temp / "asked").read_text().startswith("pr comment 7 --repo team/repository --edit-last --create-if-none")
    assert (temp / "comment.md").read_text().startswith("# fail: faq@2")


def test_nothing_on_github_runs_without_a_log(repository: Callable[..., Repository]) -> None:
    there = repository("pass")
    (there.folder / "suite.yaml").unlink()
    ran = there.bash(_steps()["Run the suite"]["run"])
    assert ran.returncode != 0
    assert not (there.folder / "runs").exists()


def test_github_says_which_variable_is_missing(repository: Callable[..., Repository]) -> None:
    done = repository("pass").bash(_steps()["Install"]["run"], TOLLGATE_PACKAGE="")
    assert done.returncode != 0
    assert "set the variable TOLLGATE_PACKAGE" in done.stderr


@pytest.mark.parametrize(("answer", "code"), EXITS)
def test_the_script_on_gitlab_ends_as_the_gate_says(
    repository: Callable[..., Repository], answer: str, code: int
) -> None:
    there, job = repository(answer), _gitlab()
    there.env |= {"TOLLGATE_SIGNING_KEY": str(Path(there.env["RUNNER_TEMP"]) / "key.pem"), "TOLLGATE_BASELINE": "faq@1"}
    done = there.sh(job["script"])
    assert done.returncode == code, done.stdout + done.stderr
    assert {"faq@2.dsse.json", "faq@2.junit.xml", "faq@2.md"} <= there.names()
    assert (there.folder / "runs" / "gate.jsonl").exists()


def test_github_has_no_more_rights_than_it_uses() -> None:
    held = _github()
    job = held["jobs"]["gate"]
    assert held["permissions"] == {"contents": "read"}
    assert job["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert job["timeout-minutes"] <= 60
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", each) for each in uses)
    secret = _steps()["Gate"]["env"]["SIGNING_KEY"]
    assert "github.event_name != 'pull_request' && secrets.TOLLGATE_SIGNING_KEY" in secret


def test_what_was_found_is_kept_whatever_the_answer() -> None:
    kept = [step for step in _github()["jobs"]["gate"]["steps"] if "upload-artifact" in step.get("uses", "")]
    assert [(step["if"], step["with"]["path"].split()) for step in kept] == [("always()", ["runs/", "verdicts/"])]
    assert _gitlab()["artifacts"]["when"] == "always"
    assert _gitlab()["artifacts"]["reports"]["junit"] == "verdicts/*.junit.xml"
