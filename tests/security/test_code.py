"""What the product's own code never does: run text, unpickle, build SQL of text, trust every certificate."""

import ast
from functools import cache

import pytest

from tests.house import PRODUCT, hold, imports, name, python, tree

CALLS = {"eval", "exec", "compile", "__import__", "input", "breakpoint"}
"""Built-in functions that run text."""
METHODS = {
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "os.system", "os.popen", "os.execv",
    "os.execvp", "tempfile.mktemp", "numpy.load", "np.load", "torch.load", "pandas.read_pickle",
    "ssl._create_unverified_context",
    "ssl.wrap_socket", "runpy.run_path", "runpy.run_module", "code.interact", "sys.settrace",
}  # fmt: skip
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "telnetlib", "ftplib", "xmlrpc"}
LOADING = {
    "gateway/cli/__init__.py", "gateway/cli/admin_port.py", "gateway/upstreams/litellm.py", "evals/cli/__init__.py",
    "evals/scorers/__init__.py", "evals/pytest_plugin.py",
}  # fmt: skip
"""Files that load a module by its name: each out of a table of its own, or of its own folder."""
STATEMENTS = {
    "gateway/stores/costs.py", "gateway/stores/ledger.py", "gateway/stores/dialects.py",
    "gateway/stores/migrations/completion.py", "gateway/stores/leadership.py",
}  # fmt: skip
"""Files that hand the database a text: one that SQLAlchemy compiled of tables, or a constant of their own."""
NETWORK = {
    "gateway/upstreams/pool.py", "gateway/upstreams/http1.py", "gateway/upstreams/silent.py", "gateway/resolving.py",
    "gateway/control_plane/engine.py", "gateway/control_plane/current.py", "gateway/cli/worker.py",
    "gateway/cli/serving.py", "gateway/cli/serve.py", "gateway/admin/certificates.py", "gateway/admin/port.py",
    "evals/http1.py", "gateway/stores/redis_scripts.py",
}  # fmt: skip
"""Files that open or take connections: to engines and providers as configured, to a vLLM of one's own on loopback, and
from clients and operators. Nobody else reaches anything, at the start or later."""
WIRES = {"socket", "ssl", "urllib.request", "http.client", "httpx", "requests", "aiohttp", "smtplib", "websockets"}


@cache
def _calls() -> tuple[tuple[str, int, str, ast.Call], ...]:
    return tuple(
        (name(path), node.lineno, ast.unparse(node.func), node)
        for path in python(*PRODUCT)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
    )


def test_no_text_is_run() -> None:
    hold([f"{path}:{line}: {called}" for path, line, called, _ in _calls() if called in CALLS | METHODS])


def test_nothing_is_unpickled() -> None:
    found = [(name(path), line, module) for path in python(*PRODUCT) for line, module in imports(path)]
    hold([f"{path}:{line}: {module}" for path, line, module in found if module.split(".")[0] in MODULES])


def test_no_shell_is_asked_and_no_certificate_is_waved_through() -> None:
    for path, line, called, node in _calls():
        told = {each.arg: ast.unparse(each.value) for each in node.keywords if each.arg}
        assert told.get("shell", "False") == "False", f"{path}:{line}: {called}"
        assert told.get("verify", "True") != "False", f"{path}:{line}: {called}"
        assert told.get("allow_pickle", "False") == "False", f"{path}:{line}: {called}"
        assert told.get("autoescape", "True") == "True", f"{path}:{line}: {called}"
        assert called != "jinja2.Environment" or "autoescape" in told, f"{path}:{line}: {called}"
    hold([
        f"{name(path)}:{node.lineno}: {node.attr}"
        for path in python(*PRODUCT)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in ("CERT_NONE", "check_hostname")
    ])  # fmt: skip


def test_modules_are_loaded_by_name_in_a_few_tables_alone() -> None:
    found = {path for path, _, called, _ in _calls() if called in ("import_module", "importlib.import_module")}
    assert found == LOADING


def test_sql_is_made_of_tables_and_constants() -> None:
    given = [(path, line, called, node) for path, line, called, node in _calls()]
    texts = [each for each in given if each[2] in ("sa.text", "text", "sqlalchemy.text")]
    hold([f"{path}:{line}: no constant" for path, line, _, node in texts if not isinstance(node.args[0], ast.Constant)])
    assert {path for path, _, called, _ in given if called.endswith("exec_driver_sql")} == STATEMENTS


def test_few_files_reach_the_network() -> None:
    found = {name(path) for path in python(*PRODUCT) for _, module in imports(path) if module in WIRES}
    assert found == NETWORK


@pytest.mark.parametrize("file", ["gateway/policy/auth.py", "gateway/admin/tokens.py"])
def test_secrets_are_compared_in_constant_time(file: str) -> None:
    (path,) = (path for path in python(*PRODUCT) if name(path) == file)
    compared = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Compare)]
    assert not [node for node in compared if "digest" in ast.unparse(node)]
    assert "hmac.compare_digest" in path.read_text(encoding="utf-8")
