"""`evals import` on the command line, and the commands that read what it writes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from evals import dataset, run_log

SAMPLES = Path(__file__).parents[2] / "samples" / "exchange"
INSPECT, LM_EVAL, PROMPTFOO = (SAMPLES / name for name in ("inspect", "lm_eval", "promptfoo"))
Evals = Callable[..., Result]


@pytest.mark.parametrize(
    ("tool", "path", "model", "metric"),
    [
        ("lm-eval", LM_EVAL / "good", "good", "exact_match,strip"),
        ("inspect", INSPECT / "good.eval", "openai/good", "exact"),
        ("promptfoo", PROMPTFOO / "good.json", "openai:chat:good", "pass"),
    ],
)
def test_each_tool_becomes_a_log_that_the_gate_reads(
    evals: Evals, tool: str, path: Path, model: str, metric: str
) -> None:
    done = evals("import", tool, path, "--out", "a.jsonl", "--metric", metric, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["model"] == model
    assert sum(told["outcomes"].values()) == told["samples"]
    gated = evals("gate", "--at-least", 0.2, "--candidate", "a.jsonl")
    assert gated.exit_code == 0, gated.output
    assert "no verdict is written" in gated.output
    assert not list(Path("verdicts").glob("*.verdict.json"))


def test_it_prints_what_was_taken_and_what_was_not(evals: Evals) -> None:
    done = evals("import", "inspect", INSPECT / "epochs.eval", "--metric", "exact", "--out", "a.jsonl")
    assert "samples: 21, 2 epochs; metrics: exact" in done.output
    assert "results: 6 scored" in done.output
    assert "note: the tool ran a part of its data set" in done.output
    assert "note: no release is named" in done.output
    done = evals("import", "inspect", INSPECT / "good.eval", "--metric", "exact", "--out", "b.jsonl")
    assert "failures: 2 empty_answer, 1 rejected, 1 server_error" in done.output


def test_a_score_outside_of_0_and_1_asks_for_a_scale(evals: Evals) -> None:
    done = evals("import", "inspect", INSPECT / "good.eval", "--out", "a.jsonl")
    assert done.exit_code == 3
    assert "--scale several.points=0:100" in done.output
    assert not Path("a.jsonl").exists()


@pytest.mark.parametrize("scale", ["points", "points=1", "points=1:1", "points=nan:1", "0:inf", "a:b"])
def test_a_scale_that_is_none_is_refused(evals: Evals, scale: str) -> None:
    done = evals("import", "inspect", INSPECT / "good.eval", "--out", "a.jsonl", "--scale", scale)
    assert done.exit_code == 2
    assert "expected [METRIC=]WORST:BEST" in done.output


def test_a_log_is_not_written_over_unless_it_may_be(evals: Evals) -> None:
    command = ("import", "promptfoo", PROMPTFOO / "good.json", "--out", "a.jsonl")
    assert evals(*command).exit_code == 0
    before = Path("a.jsonl").read_bytes()
    again = evals(*command)
    assert (again.exit_code, "add --force" in again.output) == (3, True)
    assert evals(*command, "--force").exit_code == 0
    assert Path("a.jsonl").read_bytes() == before


def test_the_samples_become_a_data_set_that_holds_the_next_run_to_itself(evals: Evals) -> None:
    for name in ("good", "bad"):
        done = evals(
            "import", "promptfoo", PROMPTFOO / f"{name}.json", "--out", f"{name}.jsonl", "--dataset", "d.jsonl"
        )
        assert done.exit_code == 0, done.output
    assert len(dataset.load(Path("d.jsonl")).samples) == 21
    strange = evals(
        "import", "inspect", INSPECT / "good.eval", "--metric", "exact", "--out", "c.jsonl", "--dataset", "d.jsonl"
    )
    assert (strange.exit_code, "holds other samples" in strange.output) == (3, True)
    compared = evals("compare", "good.jsonl", "bad.jsonl")
    assert "pass fell: q05-" in compared.output
    shown = evals("show", "good.jsonl", dataset.load(Path("d.jsonl")).samples[8].id)
    assert "server_error" in shown.output
    assert run_log.read(Path("bad.jsonl")).manifest.dataset == "d.jsonl"


def test_a_release_is_claimed_with_its_manifest(evals: Evals) -> None:
    manifest = Path(__file__).parents[3] / "configs" / "demo" / "releases" / "faq-1.yaml"
    evals("import", "lm-eval", LM_EVAL / "good", "--out", "a.jsonl", "--release", manifest)
    evals("keys", "--private", "gate.pem", "--public", "gate.pub")
    gate = ("gate", "--at-least", 0.2, "--metric", "exact_match,strip", "--candidate", "a.jsonl")
    done = evals(*gate, "--release", manifest, "--sign-with", "gate.pem")
    assert done.exit_code == 0, done.output
    verified = json.loads(Path("verdicts/faq@1.verdict.json").read_text())
    assert "imported, not asked through the gateway" in verified["predicate"]["reason"]
    other = evals(*gate, "--release", manifest.with_name("faq-2.yaml"))
    assert (other.exit_code, "the manifest is faq@2" in other.output) == (3, True)


@pytest.mark.parametrize(
    ("tool", "name", "path", "value"),
    [
        ("promptfoo", "good.json", ("results", "results", 0), 0),
        ("promptfoo", "good.json", ("results", "results", 0, "gradingResult"), [1]),
        ("promptfoo", "good.json", ("results", "prompts", 0, "metrics"), "x"),
        ("inspect", "choices.json", ("samples", 0, "epoch"), float("inf")),
        ("inspect", "choices.json", ("samples", 0, "scores", "choice"), []),
        ("inspect", "choices.json", ("samples", 0, "output", "choices", 0), None),
    ],
)
def test_a_file_of_another_form_is_one_message(
    evals: Evals, tmp_path: Path, tool: str, name: str, path: tuple[str | int, ...], value: object
) -> None:
    told = json.loads(((PROMPTFOO if tool == "promptfoo" else INSPECT) / name).read_text())
    held = told
    for key in path[:-1]:
        held = held[key]
    held[path[-1]] = value
    (tmp_path / "r.json").write_text(json.dumps(told))
    done = evals("import", tool, "r.json", "--out", "run.jsonl")
    assert (done.exit_code, f"has not the form that {tool} writes" in done.stderr) == (3, True), done.output
    assert not Path("run.jsonl").exists()
