"""A small gateway whose releases misbehave on demand, and the commands of a release: run, then gate.

Every release of a case is a function from the request's body to an answer. The server is real, so what goes wrong goes
wrong where it does in the field: on the wire, in the judge, in the cache, in the log.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from evals import run_log
from tests.evals.cli import conftest as commands
from tests.evals.cli.conftest import AS_ASKED, completion
from tests.evals.false_green.pairs import Pair

evals = commands.evals
serve = commands.serve

COUNT = 120
Reply = Callable[[dict], tuple[int, dict]]
METRICS = (
    {"metric": "exact", "test": "noninferior", "margin": 0.15, "planned_sd": 0.3},
    {"metric": "exact", "test": "absolute", "at_least": 0.85},
)


def number(body: Mapping[str, Any]) -> int:
    """Which question is asked."""
    return int(body["messages"][-1]["content"].split()[-1])


def right(body: dict) -> tuple[int, dict]:
    """Always right."""
    return completion(str(number(body)))


def tags(position: int) -> list[str]:
    """One sample in five is about billing, one in ten is golden."""
    return ["all"] + ["billing"] * (position % 5 == 0) + ["golden"] * (position % 10 == 0)


class Release:
    """A folder with a suite, a data set and a gate, and a server: everything between a change and its verdict."""

    def __init__(self, folder: Path, evals: Callable[..., Result], serve: Callable[..., str]) -> None:
        self.folder, self.evals, self.serve = folder, evals, serve
        self.suite: dict[str, Any] = {
            "suite": "numbers",
            "dataset": "questions.jsonl",
            "params": {"temperature": 0, "max_tokens": 16},
            "scorers": [{"name": "exact"}],
            "max_retries": 0,
            "concurrency": 8,
        }
        self.gate: dict[str, Any] = {"gate": "release", "suite": "numbers", "dataset": "questions.jsonl"}
        self.gate["metrics"] = [dict(metric) for metric in METRICS]
        self.release: str | None = AS_ASKED
        self.alone = False

    def samples(self, count: int = COUNT, **more: Any) -> None:
        """Write the data set: question `number i`, answer `i`. A value of `more` is a function of the position."""
        lines = [
            {"id": f"q{i:03}", "input": f"number {i}", "reference": str(i), "tags": tags(i)}
            | {key: value(i) for key, value in more.items()}
            for i in range(count)
        ]
        (self.folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def write(self) -> None:
        """Write suite and gate, the gate for the data set as it is."""
        if not (self.folder / "questions.jsonl").exists():
            self.samples()
        digest = self.evals("data", "lint", "questions.jsonl").stdout.rpartition("digest: ")[2].strip()
        self.gate.setdefault("dataset_sha256", digest)
        (self.folder / "suite.yaml").write_text(yaml.safe_dump(self.suite))
        (self.folder / "gate.yaml").write_text(yaml.safe_dump(self.gate))

    def run(self, candidate: Reply, *flags: object, baseline: Reply = right, out: str = "run.jsonl") -> Result:
        """`evals run` of both arms, or with `alone` of the candidate."""
        self.write()

        def reply(body: dict) -> tuple[int, dict]:
            return (baseline if body["model"] == "faq@1" else candidate)(body)

        url = self.serve(reply, release=self.release)
        models = ("--model", "faq@2", *(() if self.alone else ("--baseline", "faq@1")))
        return self.evals("run", "suite.yaml", *models, "--base-url", url, "--out", out, "--quiet", *flags)

    def answered(self, out: str = "run.jsonl", metric: str = "exact") -> float:
        """The candidate's mean over those scores that exist, which is how a false green reads a log; 1 of none."""
        records = [record for record in run_log.read(self.folder / out).records if record.arm == "candidate"]
        values = [record.scores[metric].value for record in records if metric in record.scores]
        return sum(values) / len(values) if values else 1.0

    def decide(self, *flags: object, out: str = "run.jsonl") -> Result:
        """`evals gate` on the run."""
        return self.evals("gate", "gate.yaml", "--candidate" if self.alone else "--run", out, *flags)


@pytest.fixture
def release(tmp_path: Path, evals: Callable[..., Result], serve: Callable[..., str]) -> Release:
    """A release that passes, until a case breaks it."""
    return Release(tmp_path, evals, serve)


@pytest.fixture
def stalling() -> Iterator[Callable[[Callable[[int], bool]], Reply]]:
    """Never answers the questions for which a condition holds, until the test is over."""
    over = threading.Event()

    def make(when: Callable[[int], bool]) -> Reply:
        def reply(body: dict) -> tuple[int, dict]:
            if when(number(body)):
                over.wait(30)
            return right(body)

        return reply

    yield make
    over.set()


@pytest.fixture
def pair(tmp_path: Path, make_log: Callable[..., Path], evals: Callable[..., Result]) -> Pair:
    """Two logs without a fault."""
    return Pair(tmp_path, make_log, evals)
