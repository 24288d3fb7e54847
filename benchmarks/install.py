"""Programs of the benchmark: the two in C are compiled, the peers installed from PyPI, npm and Debian, into .cache/.

What is there already is used as it is. `Missing` says why a peer cannot be had on this machine.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"


class Missing(Exception):
    """This peer cannot run here; the message says why."""


def compiled(name: str, folder: Path = CACHE) -> Path:
    """The program of NAME.c, compiled when the source is newer. Raises Missing."""
    program, sources = folder / name, [HERE / f"{name}.c", *HERE.glob("*.h")]
    if program.exists() and program.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return program
    folder.mkdir(parents=True, exist_ok=True)
    _run(
        [
            _found("cc", "a C compiler (Debian: apt-get install gcc libc6-dev)"),
            "-O2",
            "-o",
            str(program),
            str(sources[0]),
        ]
    )
    return program


def python_package(requirement: str, *others: str, folder: Path = CACHE) -> Path:
    """The bin/ of an environment that holds `NAME[EXTRA]==VERSION` and others beside it. Raises Missing."""
    name, version = requirement.split("==")
    place = folder / f"{name.partition('[')[0]}-{version}"
    if not (place / ".ready").exists():
        uv = Path(sys.executable).with_name("uv")
        if not uv.exists():
            raise Missing(
                f"no uv beside {Path(sys.executable).name!r}: run `make .venv/.ready`, and use .venv/bin/python"
            )
        _run([str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(place)])
        _run([str(uv), "pip", "install", "--quiet", "--python", str(place / "bin/python"), requirement, *others])
        (place / ".ready").touch()
    return place / "bin"


def node_package(package: str, *others: str, folder: Path = CACHE, node: Path | None = None) -> Path:
    """The folder of an npm package `NAME@VERSION`, with others beside it in versions of ours. Raises Missing.

    `node`: a folder with another Node.js than this machine's.
    """
    name, _, version = package.rpartition("@")
    place = folder / f"{name.rpartition('/')[2]}-{version}"
    if not (place / ".ready").exists():
        path = os.pathsep.join([*([str(node)] if node else []), os.environ.get("PATH", "")])
        _found("node", "Node.js", path)
        npm = [
            _found("npm", "Node.js with npm", path),
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--legacy-peer-deps",
        ]
        _run([*npm, "--prefix", str(place), package, *others], path=path)
        (place / ".ready").touch()
    return place / "node_modules" / name


def system_program(name: str) -> Path:
    """A program of this machine, or of Debian's package of that name, unpacked and not installed. Raises Missing."""
    place = CACHE / f"debian-{name}"
    unpacked = place / "usr/sbin" / name
    if found := shutil.which(name, path=f"{unpacked.parent}:/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"):
        return Path(found)
    apt = _found("apt-get", f"{name} on this machine, or apt-get to fetch it")
    place.mkdir(parents=True, exist_ok=True)
    _run([apt, "download", "--quiet", name], folder=place)
    for package in place.glob("*.deb"):
        _run([_found("dpkg-deb", "dpkg-deb"), "--extract", str(package), str(place)])
    if not unpacked.exists():
        raise Missing(f"Debian's package {name!r} holds no usr/sbin/{name}")
    return unpacked


def _found(program: str, need: str, path: str | None = None) -> str:
    found = shutil.which(program, path=path)
    if found is None:
        raise Missing(f"{program!r} is not here: it needs {need}")
    return found


def _run(command: Sequence[str], folder: Path = HERE, path: str | None = None) -> None:
    env = os.environ | ({"PATH": path} if path else {})
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900, env=env)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise Missing(f"{' '.join(command[:3])} … failed: {' / '.join(said)}")
