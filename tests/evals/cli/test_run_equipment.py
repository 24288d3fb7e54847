"""Runs that bring more than a client: documents, an embedding model, a judge, a frozen split."""

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from evals import dataset, run_log
from evals.composition import spend_of
from evals.dataset import card
from evals.evidence import gather
from tests.evals.cli.conftest import AS_ASKED, completion

PLANS = ("Free", "Team", "Scale", "Enterprise")
SUITE = """
suite: rag
dataset: questions.jsonl
embeddings: {model: wordllama}
retrieval: {corpus: documents.jsonl, k: 2}
judge: {model: judge@3}
scorers:
  - {name: includes}
  - {name: recall_at_k, k: 2}
  - {name: semantic_similarity}
  - {name: judge, as: quality, rubric: "Is the price right?"}
"""


class Endpoint:
    """Answers with the price in the first passage, and judges everything but what is in `doubts`."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.doubts: set[str] = set()
        self.prompts: list[str] = []

    def __call__(self, body: dict) -> tuple[int, dict]:
        self.asked[body["model"]] += 1
        text = body["messages"][-1]["content"]
        if body["model"] == "judge@3":
            if any(doubt in text for doubt in self.doubts):
                return completion("I cannot say.")
            return completion(json.dumps({"reasoning": "it is", "verdict": "pass"}))
        self.prompts.append(text)
        first = next(line for line in text.splitlines() if "costs" in line)
        return completion(first)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = [{"id": name, "text": f"The {name} plan costs {place} dollars."} for place, name in enumerate(PLANS)]
    samples = [
        {"id": name, "input": f"What does the {name} plan cost?", "reference": f"{place} dollars", "relevant": [name]}
        for place, name in enumerate(PLANS)
    ]
    for name, rows in (("documents", documents), ("questions", samples)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path


def test_retrieval_and_answer_are_scored_apart(evals, serve, folder: Path, endpoint: Endpoint) -> None:
    url = serve(endpoint, release=AS_ASKED)
    done = evals("run", "suite.yaml", "--base-url", url, "--model", "faq@2", "--out", "run.jsonl")
    assert done.exit_code == 0, done.output
    log = run_log.read(folder / "run.jsonl")
    assert {record.id: record.scores["recall_at_k"].value for record in log.records} == dict.fromkeys(PLANS, 1.0)
    assert all(record.answer and record.answer.passages and len(record.answer.passages) == 2 for record in log.records)
    assert {record.scores["quality"].value for record in log.records} == {1.0}
    assert all(0 < record.scores["semantic_similarity"].value <= 1 for record in log.records)
    assert gather(log).problems == ()
    assert set(log.manifest.judges) == {"quality"}
    assert any("[1] Free#0" in prompt and "What does the Free plan cost?" in prompt for prompt in endpoint.prompts)
    assert "judges: 4 questions, 0 failed; 40 tokens in, 8 out; cost: 0.04" in done.stderr


def test_an_estimate_says_that_passages_come_on_top(evals, folder: Path) -> None:
    shown = evals("run", "suite.yaml", "--model", "faq@2", "--dry-run").stdout
    assert "passages that the retriever adds to each question are not counted here" in shown


def test_other_documents_are_another_suite(evals, serve, folder: Path, endpoint: Endpoint) -> None:
    url = serve(endpoint, release=AS_ASKED)
    command = ("run", "suite.yaml", "--base-url", url, "--model", "faq@2", "--out")
    evals(*command, "one.jsonl")
    with (folder / "documents.jsonl").open("a") as documents:
        documents.write('{"id": "more", "text": "Plans cost what they cost."}\n')
    evals(*command, "two.jsonl")
    one, two = (run_log.read(folder / name).manifest for name in ("one.jsonl", "two.jsonl"))
    assert one.suite_digest != two.suite_digest
    assert one.dataset_sha256 == two.dataset_sha256


@pytest.mark.parametrize("changed", ["suite.yaml", "documents.jsonl"])
def test_a_run_does_not_go_on_with_other_passages(evals, serve, folder: Path, endpoint: Endpoint, changed: str) -> None:
    arguments = ("run", "suite.yaml", "--base-url", serve(endpoint, release=AS_ASKED), "--model", "faq@2")
    evals(*arguments, "--out", "run.jsonl")
    lines = (folder / "run.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "run.jsonl").write_bytes(b"".join(lines[:3]))
    path = folder / changed
    path.write_text(path.read_text().replace("k: 2}\njudge", "k: 1}\njudge").replace("The Free plan", "The free plan"))
    again = evals(*arguments, "--out", "run.jsonl")
    assert (again.exit_code, "`retrieval` or `embeddings` were changed" in again.output) == (3, True), again.output
    assert (folder / "run.jsonl").read_bytes() == b"".join(lines[:3])


def test_what_a_judge_left_open_is_judged_again_without_a_new_answer(
    evals, serve, folder: Path, endpoint: Endpoint
) -> None:
    command = ("run", "suite.yaml", "--base-url", serve(endpoint, release=AS_ASKED), "--model", "faq@2", "--out", "r")
    endpoint.doubts = {"Team plan"}
    first = evals(*command)
    assert first.exit_code == 3
    assert "judge_failed" in first.stdout
    assert endpoint.asked["faq@2"] == 4
    before = {record.id: record.answer for record in run_log.read(folder / "r").records}
    endpoint.doubts, asked = set(), endpoint.asked["judge@3"]
    second = evals(*command)
    assert second.exit_code == 0, second.output
    assert endpoint.asked["faq@2"] == 4
    assert endpoint.asked["judge@3"] > asked
    assert {record.id: record.answer for record in run_log.read(folder / "r").records} == before


def test_judges_count_for_the_cap(evals, serve, folder: Path, endpoint: Endpoint) -> None:
    url = serve(endpoint, release=AS_ASKED, cost="0.01")
    cap = ("--max-cost", "0.04", "--concurrency", 1)
    done = evals("run", "suite.yaml", "--base-url", url, "--model", "faq@2", *cap, "--out", "r.jsonl")
    assert done.exit_code == 3
    assert "over_budget" in done.stdout
    assert endpoint.asked == {"faq@2": 2, "judge@3": 2}


def test_an_answer_that_is_judged_again_is_paid_for_once(evals, serve, folder: Path, endpoint: Endpoint) -> None:
    suite = folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("judge@3}", f"judge@3, base_url: '{serve(endpoint, cost=None)}'}}"))
    url = serve(endpoint, release=AS_ASKED, cost="0.01")
    command = ("run", "suite.yaml", "--base-url", url, "--model", "faq@2", "--concurrency", 1, "--out", "r.jsonl")
    endpoint.doubts = set(PLANS)
    assert evals(*command, "--limit", 4).exit_code == 3
    assert evals(*command, "--limit", 4).exit_code == 3
    assert endpoint.asked["faq@2"] == len(PLANS)
    log = run_log.read(folder / "r.jsonl")
    assert len(log.records) == 2 * len(PLANS)
    assert spend_of(Decimal(1), log.records).spent == Decimal("0.04")


def test_a_judge_somewhere_else_does_not_get_the_runs_key(
    evals, serve, folder: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = serve(endpoint, release=AS_ASKED)
    suite = folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("judge@3}", f"judge@3, base_url: '{elsewhere}', api_key_env: OTHER}}"))
    command = ("run", "suite.yaml", "--base-url", serve(endpoint, release=AS_ASKED), "--model", "faq@2")
    refused = evals(*command)
    assert refused.exit_code == 3
    assert "OTHER" in refused.stderr
    assert not endpoint.asked
    monkeypatch.setenv("OTHER", "sk-other")
    assert evals(*command).exit_code == 0


def test_nothing_is_sent_while_something_is_missing(evals, serve, folder: Path, endpoint: Endpoint) -> None:
    suite = folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("k: 2}\njudge", "k: 2, store: .index}\njudge"))
    done = evals("run", "suite.yaml", "--base-url", serve(endpoint), "--model", "faq@2")
    assert done.exit_code == 3
    assert "evals index documents.jsonl --into .index" in done.stderr
    assert not endpoint.asked
    assert not (folder / "runs").exists()


def test_a_gate_wants_a_card_of_the_judge(evals, serve, folder: Path, endpoint: Endpoint) -> None:
    evals("run", "suite.yaml", "--base-url", serve(endpoint, release="faq@2"), "--model", "faq@2", "--out", "r.jsonl")
    digest = run_log.read(folder / "r.jsonl").manifest.dataset_sha256
    metric = "{metric: quality, test: absolute, at_least: 0.5}"
    gate = f"gate: g\nsuite: rag\ndataset_sha256: {digest}\nmetrics: [{metric}]\n"
    (folder / "gate.yaml").write_text(gate)
    asked: Callable[[], str] = lambda: evals("gate", "gate.yaml", "--candidate", "r.jsonl").stdout  # noqa: E731
    assert "the metric 'quality' is a judge's, and the gate names no card of it" in asked()
    (folder / "gate.yaml").write_text(gate + "judges_unmeasured: allow\n")
    assert "is a judge's" not in asked()


def test_a_run_of_a_split_is_of_that_split(evals, serve, folder: Path, endpoint: Endpoint) -> None:
    data = folder / "questions.jsonl"
    card.beside(data).write_text(card.template(data, dataset.load(data).digest))
    evals("data", "split", "questions.jsonl", "--fraction", "dev=0.5", "--fraction", "test=0.5", "--salt", "s")
    suite = folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("dataset: questions.jsonl", "dataset: questions.jsonl\nsplit: test"))
    done = evals("run", "suite.yaml", "--base-url", serve(endpoint, release=AS_ASKED), "--model", "faq@2", "--out", "r")
    assert done.exit_code == 0, done.output
    manifest = run_log.read(folder / "r").manifest
    assert manifest.split == "test"
    assert 0 < manifest.samples < len(PLANS)
