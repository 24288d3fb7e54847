import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from evals.provenance import Revision, machine, packages, revision

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *command: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *settings, *command], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_versions_are_those_that_are_installed() -> None:
    found = packages()
    assert found["msgspec"] == metadata.version("msgspec")
    assert found["tollgate"] == metadata.version("tollgate")
    assert found["python"].startswith("3.")


def test_the_machine_is_a_kind_and_no_name() -> None:
    assert machine().count("-") == 1


def test_the_revision_is_the_commit_and_whether_files_differ(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "suite.yaml").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    assert revision(tmp_path) == Revision(git(tmp_path, "rev-parse", "HEAD"), dirty=False)
    (tmp_path / "suite.yaml").write_text("b")
    assert revision(tmp_path).dirty is True


def test_outside_a_repository_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revision(tmp_path) == Revision(None, None)


def test_without_git_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision(tmp_path) == Revision(None, None)
