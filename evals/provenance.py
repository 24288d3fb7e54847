"""What a run was made with: versions of packages, the revision of the files, the machine's kind."""

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "httptools",
    "jsonschema",
    "msgspec",
    "numpy",
    "py3langid",
    "qdrant-client",
    "ragas",
    "rouge-score",
    "sacrebleu",
    "scipy",
    "tollgate",
    "wordllama",
)
"""Distributions whose version can change a score or an interval."""
_GIT_TIMEOUT_S = 5.0


def packages() -> dict[str, str]:
    """Versions by name, of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The kind of machine: `linux-x86_64`. Nothing that names one."""
    return f"{sys.platform}-{platform.machine()}"


@dataclass(frozen=True, slots=True)
class Revision:
    """The commit of a working tree, and whether files differ from it; both None outside a repository."""

    commit: str | None
    dirty: bool | None


def revision(folder: Path) -> Revision:
    """The revision of the repository that holds a folder. Never raises: git may be missing, slow or unwilling."""
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain") if commit else None
    return Revision(commit, None if changes is None else bool(changes))


def _git(folder: Path, *command: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [git, "-C", str(folder), *command],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
