"""The demo on an engine that runs already: its releases differ in sampling, since one engine has one set of weights."""

import json
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import yaml
from fleet import DATA, HERE, WORK, Plan
from show import fail, note

from evals import dataset

RECITE = Path("datasets/recite")
PROBE = ("How expensive is the Free plan?", "The Free plan costs 0 dollars per month.")
FOLDER = WORK / "running"
SAMPLING = {
    "faq@1": {"temperature": 0, "max_tokens": 48},
    "faq@2": {"temperature": 0, "max_tokens": 40},
    "faq@3": {"temperature": 0, "max_tokens": 5},
}


def on(url: str, port: int) -> Plan:
    """A plan for one engine. Its own data set when the engine does not know the demo's: repeating words."""
    model = _ask(url, "/v1/models")["data"][0]["id"]
    known = _answer(url, model, PROBE[0]) == PROBE[1]
    data = DATA / "heldout.jsonl" if known else RECITE / "recite.jsonl"
    note(f"the engine at {url} serves {model!r}; questions from {data}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    _write_gateway(url, model)
    _write_suite(data)
    floor = 0.85 if known else 0.5
    noninferior = _metrics(HERE / "gate.yaml")[0]
    if not known:
        noninferior |= {"planned_sd": 0.2, "planned_design_effect": 1.0}
    _write_gate("gate-first", data, [_floor(floor)])
    _write_gate("gate", data, [noninferior, _floor(floor)])
    return Plan(
        port=port,
        config=FOLDER / "gateway.yaml",
        suite=FOLDER / "suite.yaml",
        gates={"first": FOLDER / "gate-first.yaml", "next": FOLDER / "gate.yaml"},
        story={
            "faq@2": "faq@2 ends every answer after 40 tokens. Nothing should change.",
            "faq@3": "faq@3 ends every answer after 5 tokens. It is cheap, it answers, it raises no error.",
        },
        engines={},
        question=PROBE[0] if known else "Say hello in five words.",
        manifests=FOLDER,
    )


def _ask(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url + path, data, {"content-type": "application/json"})  # noqa: S310 (the user's own engine)
    try:
        with urlopen(request, timeout=60.0) as response:  # noqa: S310
            return json.load(response)
    except (URLError, OSError, ValueError) as error:
        fail(f"{url}{path} does not answer ({error}): ENGINE_URL is the engine's address without /v1")


def _answer(url: str, model: str, question: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 32, "temperature": 0}
    return str(_ask(url, "/v1/chat/completions", body)["choices"][0]["message"]["content"]).strip()


def _write_gateway(url: str, model: str) -> None:
    config = yaml.safe_load((HERE / "gateway.yaml").read_text())
    releases = []
    for name, sampling in SAMPLING.items():
        manifest = {"name": name, "model": {"id": model}, "engine": {"name": "vllm"}, "sampling": sampling}
        _dump(name.replace("@", "-"), manifest)
        releases.append({"manifest": f"{name.replace('@', '-')}.yaml", "pool": "engine"})
    config["database"] = "sqlite:///../tollgate.db"
    config["prices"] = str((HERE / "prices.yaml").absolute())
    config["enforcement"] |= {"trusted_keys": ["../gate.pub"], "verdicts": "../verdicts"}
    config["pools"] = {"engine": {"served_model": model, "replicas": [{"name": "engine-0", "url": url}]}}
    config["models"] = {"faq": {"live": "faq@1", "releases": releases}}
    _dump("gateway", config)


def _write_suite(data: Path) -> None:
    suite = yaml.safe_load((HERE / "suite.yaml").read_text())
    _dump("suite", suite | {"dataset": str(data.absolute()), "concurrency": 32})


def _write_gate(name: str, data: Path, metrics: list[dict[str, Any]]) -> None:
    gate = yaml.safe_load((HERE / f"{name}.yaml").read_text())
    digest = dataset.load(data).digest
    _dump(name, gate | {"dataset": str(data.absolute()), "dataset_sha256": digest, "metrics": metrics})


def _metrics(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load(path.read_text())["metrics"])


def _floor(at_least: float) -> dict[str, Any]:
    return {"metric": "exact", "owner": "product", "test": "absolute", "at_least": at_least}


def _dump(name: str, content: Any) -> None:
    (FOLDER / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
