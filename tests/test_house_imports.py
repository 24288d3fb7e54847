"""Who may import what, and where: held over the files themselves."""

import ast
from pathlib import Path

from tests.house import PRODUCT, functions, hold, imported, imports, name, python

OWNERS: dict[str, str | tuple[str, ...]] = {
    "alembic": "gateway/stores/migrations/",
    "cel": "gateway/settings/conditions.py",
    "redis": "gateway/stores/redis_scripts.py",
    "holidays": "gateway/settings/public_holidays.py",
    "jinja2": ("gateway/costs/page.py", "evals/report/page.py"),
    "markupsafe": "evals/report/page.py",
    "opentelemetry": "gateway/tracing.py",
    "pyarrow": ("gateway/costs/parquet.py", "evals/dataset/parquet.py", "evals/exchange/files.py"),
    "litellm": "gateway/upstreams/litellm.py",
    "securesystemslib": "gateway/contracts/attestation.py",
    "ragas": "evals/scorers/rag/prompts.py",
    "qdrant_client": "evals/retrieval.py",
    "wordllama": "evals/embeddings.py",
    "safetensors": "evals/embeddings.py",
    "tokenizers": "evals/embeddings.py",
    "scipy": ("evals/stats.py", "evals/classical/"),
    "statsmodels": "evals/classical/",
    "numpy": ("evals/numerics.py", "evals/dataset/near.py"),
    "jsonschema": "evals/scorers/json_schema.py",
    "rouge_score": "evals/scorers/overlap.py",
    "sacrebleu": "evals/scorers/overlap.py",
    "py3langid": "evals/scorers/language.py",
    "krippendorff": "evals/agreement.py",
}
"""Heavy packages, each with the one file, or folder, that may import it; there, also on first use. Several only where
one side may not import the other, or where one needs arrays and the other statistics."""
NOWHERE = {"aiohttp", "vllm"}
"""vLLM is a process with an environment of its own; aiohttp serves in tests, and costs a client its speed."""

LOADERS = {
    "gateway/cli/__init__.py",
    "gateway/cli/admin_port.py",
    "evals/cli/__init__.py",
    "evals/scorers/__init__.py",
    "evals/pytest_plugin.py",
}
"""Registries of modules, and what others load always: what these import is loaded when it is asked for."""


def _owns(owner: str | tuple[str, ...], path: Path) -> bool:
    if isinstance(owner, tuple):
        return any(_owns(one, path) for one in owner)
    return name(path).startswith(owner) if owner.endswith("/") else name(path) == owner


def test_imports_stand_on_top() -> None:
    found = []
    for path in python(*PRODUCT):
        owned = {package for package, owner in OWNERS.items() if _owns(owner, path)}
        owned |= {"?"} if name(path) in LOADERS else set()
        inner = {(node, part) for node in functions(path) for part in ast.walk(node)}
        for node, part in sorted(inner, key=lambda pair: getattr(pair[1], "lineno", 0)):
            found += [
                f"{name(path)}:{getattr(part, 'lineno', 0)}: {module!r} is imported inside {node.name!r}; "
                f"allowed there: {', '.join(sorted(owned)) or 'nothing'}"
                for module in imported(part)
                if module.split(".")[0] not in owned
            ]
    hold(found)


def test_each_heavy_package_has_one_owner() -> None:
    found = []
    for path in python(*PRODUCT):
        for line, module in imports(path):
            package = module.split(".")[0]
            if package in NOWHERE or not _owns(OWNERS.get(package, name(path)), path):
                allowed = OWNERS.get(package, "nowhere")
                found.append(f"{name(path)}:{line}: imports {module!r}, allowed in {allowed}")
    hold(found)
