"""The rules of the house, held over the files themselves. Each message says where, what was found, and the limit."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("gateway", "evals", "tests", "datasets", "benchmarks", "configs", "docker", "docs", ".ci")
PRODUCT = ("gateway", "evals")
UNREAD = {"__pycache__", ".cache", ".venv", "node_modules", ".git"}

FILE_LINES, FUNCTION_LINES, DATA_PLANE_LINES = 299, 60, 199
BROAD_EXCEPTS = 2

OWNERS = {
    "alembic": "gateway/stores/migrations/",
    "cel": "gateway/settings/conditions.py",
    "redis": "gateway/stores/redis_budgets.py",
    "holidays": "gateway/settings/public_holidays.py",
    "jinja2": "gateway/costs/page.py",
    "pyarrow": "gateway/costs/parquet.py",
    "litellm": "gateway/upstreams/litellm.py",
    "securesystemslib": "gateway/contracts/attestation.py",
    "ragas": "evals/scorers/rag.py",
    "qdrant_client": "evals/retrieval.py",
    "scipy": "evals/stats.py",
    "statsmodels": "evals/stats.py",
    "numpy": "evals/stats.py",
    "aiohttp": "evals/client.py",
    "jsonschema": "evals/scorers/json_schema.py",
}
"""Heavy packages, each with the one file, or folder, that may import it; there, also on first use."""
NOWHERE = {"vllm"}
"""vLLM is a process with an environment of its own."""

LOADERS = {"gateway/cli/__init__.py", "evals/cli/__init__.py", "evals/scorers/__init__.py"}
"""Registries of modules: what they import is named in a table, and loaded when it is asked for."""
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


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _files(*folders: str) -> tuple[Path, ...]:
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")))
    return tuple(path for path in found if path.is_file() and not UNREAD.intersection(path.relative_to(ROOT).parts))


def _python(*folders: str) -> list[Path]:
    return [path for path in _files(*folders) if path.suffix == ".py"]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), _name(path))


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _hold(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _imported(node: ast.AST) -> list[str]:
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


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(_tree(path)):
        for module in _imported(node):
            yield getattr(node, "lineno", 1), module


def test_files_are_under_300_lines() -> None:
    sizes = {_name(path): _lines(path) for path in _python(*FOLDERS)}
    _hold([f"{name}: {size} lines, at most {FILE_LINES}" for name, size in sizes.items() if size > FILE_LINES])


def test_functions_are_under_61_lines() -> None:
    found = []
    for path in _python(*FOLDERS):
        for node in _functions(path):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES:
                found.append(f"{_name(path)}:{node.lineno}: {node.name!r} has {size} lines, at most {FUNCTION_LINES}")
    _hold(found)


def test_the_data_plane_is_under_200_lines() -> None:
    path = ROOT / "gateway/data_plane.py"
    if path.exists():
        assert _lines(path) <= DATA_PLANE_LINES, f"{_name(path)}: {_lines(path)} lines, at most {DATA_PLANE_LINES}"


def _owns(owner: str, path: Path) -> bool:
    return _name(path).startswith(owner) if owner.endswith("/") else _name(path) == owner


def test_imports_stand_on_top() -> None:
    found = []
    for path in _python(*PRODUCT):
        owned = {package for package, owner in OWNERS.items() if _owns(owner, path)}
        owned |= {"?"} if _name(path) in LOADERS else set()
        inner = {(node, part) for node in _functions(path) for part in ast.walk(node)}
        for node, part in sorted(inner, key=lambda pair: getattr(pair[1], "lineno", 0)):
            found += [
                f"{_name(path)}:{getattr(part, 'lineno', 0)}: {module!r} is imported inside {node.name!r}; "
                f"allowed there: {', '.join(sorted(owned)) or 'nothing'}"
                for module in _imported(part)
                if module.split(".")[0] not in owned
            ]
    _hold(found)


def test_each_heavy_package_has_one_owner() -> None:
    found = []
    for path in _python(*PRODUCT):
        for line, module in _imports(path):
            package = module.split(".")[0]
            if package in NOWHERE or not _owns(OWNERS.get(package, _name(path)), path):
                allowed = OWNERS.get(package, "nowhere")
                found.append(f"{_name(path)}:{line}: imports {module!r}, allowed in {allowed}")
    _hold(found)


def _is_broad(node: ast.ExceptHandler) -> bool:
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(one is None or ast.unparse(one).split(".")[-1] in ("Exception", "BaseException") for one in caught)


def test_almost_nothing_catches_everything() -> None:
    found = [
        f"{_name(path)}:{node.lineno}: {ast.unparse(node).splitlines()[0]}"
        for path in _python(*PRODUCT)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node)
    ]
    # `suppress(Exception)` is the same thing in other words.
    found += [
        f"{_name(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in _python(*PRODUCT)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("suppress")
        and {"Exception", "BaseException"} & {ast.unparse(argument) for argument in node.args}
    ]
    assert len(found) <= BROAD_EXCEPTS, f"\n{len(found)} places, at most {BROAD_EXCEPTS}:\n" + "\n".join(found)


def _twin(module: Path) -> Path:
    inside = module.relative_to(ROOT)
    return ROOT / "tests" / inside.parent / f"test_{inside.name}"


def test_every_module_has_its_test_file() -> None:
    modules = [path for path in _python(*PRODUCT) if not path.name.startswith("__")]
    _hold([f"{_name(path)}:1: no {_name(_twin(path))}" for path in modules if not _twin(path).exists()])


def test_every_test_file_has_its_module() -> None:
    twins = {_twin(path) for path in _python(*PRODUCT)}
    twins |= {path.parent.parent / f"test_{path.parent.name}.py" for path in twins if path.name == "test___init__.py"}
    tests = [path for path in _python("tests/gateway", "tests/evals") if path.name.startswith("test_")]
    found = []
    for path in tests:
        module = path.relative_to(ROOT / "tests").with_name(path.name.removeprefix("test_"))
        # A module's test may be split: test_gate_laws.py is another one of gate.py.
        if path not in twins and not any(path.stem.startswith(f"{twin.stem}_") for twin in twins):
            found.append(f"{_name(path)}:1: no {module.as_posix()}")
    _hold(found)


def test_folders_that_are_no_packages_have_no_init() -> None:
    _hold(
        [f"{_name(path)}:1: remove it" for path in _files("datasets", "docker", "tests") if path.name == "__init__.py"]
    )


def test_tests_do_not_sleep() -> None:
    found = []
    for path in _python("tests"):
        if _name(path).startswith("tests/engine/"):
            continue
        names = {"time.sleep", "asyncio.sleep", "anyio.sleep", "trio.sleep", "gevent.sleep"}
        calls = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call)]
        found += [
            f"{_name(path)}:{node.lineno}: {ast.unparse(node)}: wait for a condition instead"
            for node in calls
            if ast.unparse(node.func) in names and ast.unparse(node) != YIELD
        ]
        found += [
            f"{_name(path)}:{node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.ImportFrom) and "sleep" in {alias.name for alias in node.names}
        ]
    _hold(found)


def test_tests_do_not_mock() -> None:
    banned = {"unittest.mock", "mock", "pytest_mock"}
    found = []
    for path in _python("tests"):
        found += [f"{_name(path)}:{line}: imports {module!r}" for line, module in _imports(path) if module in banned]
        found += [
            f"{_name(path)}:{node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.ImportFrom) and node.module == "unittest" and "mock" in ast.unparse(node)
        ]
    _hold(found)


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
    for path in _python(*PRODUCT):
        if ast.get_docstring(_tree(path)) is None and path.read_text(encoding="utf-8").strip():
            found.append(f"{_name(path)}:1: no docstring of the module")
        lacking = [(line, name) for line, name, documented in _public(_tree(path)) if not documented]
        found += [f"{_name(path)}:{line}: {name!r} has no docstring" for line, name in lacking]
    _hold(found)


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    top = [path for path in sorted(ROOT.iterdir()) if path.is_file()]
    for path in (*top, *_files(*FOLDERS)):
        if path.suffix in BINARY:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            hit = MACHINE.search(line) or (path != Path(__file__).resolve() and REGISTRY.search(line))
            if hit:
                found.append(f"{_name(path)}:{number}: {hit[0]!r} belongs to one machine")
    _hold(found)


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
