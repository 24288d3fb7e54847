"""The rules of the house, held over the files themselves. Each message says where, what was found, and the limit."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import FOLDERS, PRODUCT, ROOT, UNREAD, files, functions, hold, imports, line_count, name, python, tree

FILE_LINES, FUNCTION_LINES, DATA_PLANE_LINES = 299, 60, 199
BROAD_EXCEPTS = 2

YIELD = "asyncio.sleep(0)"
"""Gives way to other tasks and waits for no time."""

# In pieces, so that this file keeps its own rule.
MACHINE = re.compile(r"(?<![\w.\-])/(?:ho" + r"me|wo" + r"rk|ro" + r"ot|Us" + r"ers)/[A-Za-z0-9_.]")
REGISTRY = re.compile(
    r"(?:[\w-]+\.)*(?:artifactory|nexus|jfrog|codeartifact|devpi|pypi-mirror|pypi-proxy)[\w-]*\.[a-z]{2,}|"
    r"files\.pythonhosted\.org|--(?:extra-)?index-url|(?:pypi|registry|repo|mirror|mirrors)\.[\w.-]*(?:internal|corp|local)\b",
    re.IGNORECASE,
)
BINARY = {".png", ".gz", ".safetensors", ".bin", ".ico", ".woff2", ".pyc", ".parquet", ".sqlite", ".db"}


def test_files_are_under_300_lines() -> None:
    sizes = {name(path): line_count(path) for path in python(*FOLDERS)}
    hold([f"{name}: {size} lines, at most {FILE_LINES}" for name, size in sizes.items() if size > FILE_LINES])


def test_functions_are_under_61_lines() -> None:
    found = []
    for path in python(*FOLDERS):
        for node in functions(path):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES:
                found.append(f"{name(path)}:{node.lineno}: {node.name!r} has {size} lines, at most {FUNCTION_LINES}")
    hold(found)


def test_the_data_plane_is_under_200_lines() -> None:
    path = ROOT / "gateway/data_plane.py"
    if path.exists():
        assert line_count(path) <= DATA_PLANE_LINES, (
            f"{name(path)}: {line_count(path)} lines, at most {DATA_PLANE_LINES}"
        )


def _is_broad(node: ast.ExceptHandler) -> bool:
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(one is None or ast.unparse(one).split(".")[-1] in ("Exception", "BaseException") for one in caught)


def test_almost_nothing_catches_everything() -> None:
    found = [
        f"{name(path)}:{node.lineno}: {ast.unparse(node).splitlines()[0]}"
        for path in python(*PRODUCT)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node)
    ]
    # `suppress(Exception)` is the same thing in other words.
    found += [
        f"{name(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in python(*PRODUCT)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("suppress")
        and {"Exception", "BaseException"} & {ast.unparse(argument) for argument in node.args}
    ]
    assert len(found) <= BROAD_EXCEPTS, f"\n{len(found)} places, at most {BROAD_EXCEPTS}:\n" + "\n".join(found)


def _twin(module: Path) -> Path:
    inside = module.relative_to(ROOT)
    return ROOT / "tests" / inside.parent / f"test_{inside.name}"


def test_every_module_has_its_test_file() -> None:
    modules = [path for path in python(*PRODUCT) if not path.name.startswith("__")]
    hold([f"{name(path)}:1: no {name(_twin(path))}" for path in modules if not _twin(path).exists()])


def test_every_test_file_has_its_module() -> None:
    twins = {_twin(path) for path in python(*PRODUCT)}
    twins |= {path.parent.parent / f"test_{path.parent.name}.py" for path in twins if path.name == "test___init__.py"}
    tests = [path for path in python("tests/gateway", "tests/evals") if path.name.startswith("test_")]
    found = []
    for path in tests:
        module = path.relative_to(ROOT / "tests").with_name(path.name.removeprefix("test_"))
        # A module's test may be split: test_gate_laws.py is another one of gate.py.
        if path not in twins and not any(path.stem.startswith(f"{twin.stem}_") for twin in twins):
            found.append(f"{name(path)}:1: no {module.as_posix()}")
    hold(found)


def test_folders_that_are_no_packages_have_no_init() -> None:
    hold([f"{name(path)}:1: remove it" for path in files("datasets", "docker", "tests") if path.name == "__init__.py"])


def test_tests_do_not_sleep() -> None:
    found = []
    for path in python("tests"):
        if name(path).startswith("tests/engine/"):
            continue
        names = {"time.sleep", "asyncio.sleep", "anyio.sleep", "trio.sleep", "gevent.sleep"}
        calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        found += [
            f"{name(path)}:{node.lineno}: {ast.unparse(node)}: wait for a condition instead"
            for node in calls
            if ast.unparse(node.func) in names and ast.unparse(node) != YIELD
        ]
        found += [
            f"{name(path)}:{node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(tree(path))
            if isinstance(node, ast.ImportFrom) and "sleep" in {alias.name for alias in node.names}
        ]
    hold(found)


def test_tests_do_not_mock() -> None:
    banned = {"unittest.mock", "mock", "pytest_mock"}
    found = []
    for path in python("tests"):
        found += [f"{name(path)}:{line}: imports {module!r}" for line, module in imports(path) if module in banned]
        found += [
            f"{name(path)}:{node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(tree(path))
            if isinstance(node, ast.ImportFrom) and node.module == "unittest" and "mock" in ast.unparse(node)
        ]
    hold(found)


def _public(node: ast.AST, at: str = "") -> Iterator[tuple[int, str, bool]]:
    """Public classes, functions and methods: (line, name, documented)."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or child.name.startswith("_"):
            continue
        decorators = {ast.unparse(decorator).split(".")[-1] for decorator in child.decorator_list}
        # An overload, a setter and an override say nothing that their other half does not.
        documented = ast.get_docstring(child) is not None or bool({"overload", "setter", "override"} & decorators)
        yield child.lineno, f"{at}{child.name}", documented
        if isinstance(child, ast.ClassDef):
            yield from _public(child, f"{at}{child.name}.")


def test_everything_public_has_a_docstring() -> None:
    found = []
    for path in python(*PRODUCT):
        if ast.get_docstring(tree(path)) is None and path.read_text(encoding="utf-8").strip():
            found.append(f"{name(path)}:1: no docstring of the module")
        lacking = [(line, name) for line, name, documented in _public(tree(path)) if not documented]
        found += [f"{name(path)}:{line}: {name!r} has no docstring" for line, name in lacking]
    hold(found)


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    top = [path for path in sorted(ROOT.iterdir()) if path.is_file() and path.name not in UNREAD]
    for path in (*top, *files(*FOLDERS)):
        if path.suffix in BINARY:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if not (MACHINE.search(text) or REGISTRY.search(text)):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            hit = MACHINE.search(line) or (path != Path(__file__).resolve() and REGISTRY.search(line))
            if hit:
                found.append(f"{name(path)}:{number}: {hit[0]!r} belongs to one machine")
    hold(found)


@pytest.mark.parametrize(
    "command",
    [["lint-imports"], ["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=["import-linter", "ruff check", "ruff format", "mypy"],
)
def test_the_checkers_pass(command: list[str]) -> None:
    tool = Path(sys.executable).with_name(command[0])
    assert tool.exists(), f"{command[0]!r} is not beside {Path(sys.executable).name!r}: install the group `dev`"
    done = subprocess.run([str(tool), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"\n{done.stdout[-6000:]}{done.stderr[-2000:]}"
