"""The files of the house, read once, and how rules about them are told."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("gateway", "evals", "tests", "datasets", "benchmarks", "configs", "docker", "docs", ".ci")
PRODUCT = ("gateway", "evals")
UNREAD = {"__pycache__", ".cache", ".venv", "node_modules", ".git"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def files(*folders: str) -> tuple[Path, ...]:
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")))
    return tuple(path for path in found if path.is_file() and not UNREAD.intersection(path.relative_to(ROOT).parts))


def python(*folders: str) -> list[Path]:
    return [path for path in files(*folders) if path.suffix == ".py"]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name(path))


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def hold(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


def imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports; a relative one by its own name."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "import_module",
        "importlib.import_module",
        "__import__",
    ):
        return [str(node.args[0].value)] if node.args and isinstance(node.args[0], ast.Constant) else ["?"]
    return []


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree(path)):
        for module in imported(node):
            yield getattr(node, "lineno", 1), module


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
