"""What docker/ describes, read as its readers read it: composed services, the steps of images, Kubernetes' objects."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = ("Dockerfile", "vllm-cpu.Dockerfile")
KUBERNETES = DOCKER / "kubernetes"

Tree = dict[str, Any]


class _Compose(yaml.SafeLoader):
    """YAML with Compose's own tag: `!reset` takes away what an earlier file said."""


_RESET = object()
_Compose.add_constructor("!reset", lambda _loader, _node: _RESET)


def _merged(below: Any, above: Any) -> Any:
    """Two files in Compose's way: mappings together, `command` and the like replaced, other lists joined."""
    if isinstance(below, dict) and isinstance(above, dict):
        both = {**below, **above}
        for name in below.keys() & above.keys():
            replaced = name in ("command", "entrypoint", "test")
            both[name] = above[name] if replaced else _merged(below[name], above[name])
        return {name: value for name, value in both.items() if value is not _RESET}
    if isinstance(below, list) and isinstance(above, list):
        at = {str(each).split(":")[0] for each in above}
        return [each for each in below if str(each).split(":")[0] not in at] + above
    return above


@cache
def composed(*names: str) -> Tree:
    """What the files come to, together, without extensions (`x-…`)."""
    whole: Tree = {}
    for name in names or ("compose.yaml",):
        whole = _merged(whole, yaml.load((DOCKER / name).read_text(encoding="utf-8"), _Compose))
    return {name: value for name, value in whole.items() if not name.startswith("x-")}


def services(*names: str) -> dict[str, Tree]:
    """The services, by name."""
    found: dict[str, Tree] = composed(*names)["services"]
    return found


@dataclass(frozen=True)
class Step:
    """One instruction of an image, in the stage that it stands in."""

    stage: str
    name: str
    text: str


@cache
def steps(file: str) -> tuple[Step, ...]:
    """The instructions of a Dockerfile, without comments and line ends. The stage before the first FROM has no name."""
    lines = (DOCKER / file).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    found, stage = [], ""
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stage = rest.split(" AS ")[1].strip()
        found.append(Step(stage, name, " ".join(rest.split())))
    return tuple(found)


def parent(file: str, stage: str) -> str | None:
    """The stage that a stage is made from; None for one that is made from an image."""
    made = {each.stage: each.text.split(" AS ")[0] for each in steps(file) if each.name == "FROM"}
    return made[stage] if made[stage] in made else None


def said(file: str, stage: str, name: str) -> list[str]:
    """What all instructions of a name say in a stage, those of the stages that it is made from first."""
    below = parent(file, stage)
    earlier = [] if below is None else said(file, below, name)
    return earlier + [each.text for each in steps(file) if (each.stage, each.name) == (stage, name)]


def manifests() -> Iterator[tuple[str, Tree]]:
    """Kubernetes' objects: (file, object)."""
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    for name in listed:
        for each in yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")):
            yield name, each


def manifest(kind: str, name: str = "gateway") -> Tree:
    """The one object of a kind and name."""
    (found,) = [each for _, each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found
