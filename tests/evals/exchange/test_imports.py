"""Imported results as evidence: what the log holds, and what a gate makes of it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evals import dataset, run_log
from evals.decision import Decision
from evals.evidence import gather
from evals.exchange import imports, inspect_log, lm_eval, promptfoo
from evals.exchange.imported import UNREAD, Choice, Found, Imported
from evals.exchange.imports import Settled, Terms
from evals.gate import decide
from evals.gate_config import GateConfig, MetricConfig
from evals.schema import Answer, Sample
from gateway.contracts import release
from gateway.contracts.errors import InputError

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "tests" / "samples" / "exchange"
MANIFEST = release.load(ROOT / "configs" / "demo" / "releases" / "faq-1.yaml")
EXACT = Choice(metrics=("exact",))


def _write(imported: Imported, out: Path, choice: Choice = EXACT, **terms: object) -> Settled:
    return imports.write(imported, out, choice, Terms(**terms), harness="tests")  # type: ignore[arg-type]


def _inspect(name: str) -> Imported:
    return inspect_log.read(SAMPLES / "inspect" / name, EXACT)


def _decided(candidate: Path, baseline: Path | None = None, **metric: float) -> Decision:
    log = run_log.read(candidate)
    test = MetricConfig(metric="exact", test="noninferior" if baseline else "absolute", **metric)
    gate = GateConfig(gate="g", suite=log.manifest.suite, dataset_sha256=log.manifest.dataset_sha256, metrics=(test,))
    theirs = gather(run_log.read(baseline)) if baseline else None
    return decide(gate, gather(log), theirs, now=datetime(2026, 11, 22, tzinfo=UTC), harness="tests")


def test_the_denominator_is_what_the_tool_was_given(tmp_path: Path) -> None:
    settled = _write(_inspect("good.eval"), tmp_path / "a.jsonl")
    assert settled.outcomes == {"scored": 17, "system_error": 4}
    log = run_log.read(tmp_path / "a.jsonl")
    assert log.sealed
    assert log.manifest.samples == len(log.records) == 21
    # Inspect itself tells 16 right of 20.
    assert _decided(tmp_path / "a.jsonl", at_least=0.3).metrics[0].estimate == pytest.approx(16 / 21)


def test_a_sample_without_a_result_is_missing_evidence(tmp_path: Path) -> None:
    settled = _write(_inspect("stop.eval"), tmp_path / "a.jsonl")
    assert settled.failures == {"server_error": 1, "not_reported": 12}
    decision = _decided(tmp_path / "a.jsonl", at_least=0.3)
    assert decision.answer == "invalid"
    assert "coverage is 42.86%" in decision.reason


def test_removing_a_result_never_helps(tmp_path: Path) -> None:
    whole = _inspect("good.eval")
    _write(whole, tmp_path / "a.jsonl")
    lower = _decided(tmp_path / "a.jsonl", at_least=0.3).metrics[0].lower
    assert lower is not None
    for number, gone in enumerate(whole.results):
        left = replace(whole, results=tuple(each for each in whole.results if each is not gone))
        _write(left, tmp_path / f"{number}.jsonl")
        found = _decided(tmp_path / f"{number}.jsonl", at_least=0.3).metrics[0].lower
        assert found is not None
        assert found <= lower


def test_a_gate_passes_and_fails_imported_results_without_a_verdict(tmp_path: Path) -> None:
    _write(_inspect("good.eval"), tmp_path / "a.jsonl")
    passed, failed = (_decided(tmp_path / "a.jsonl", at_least=floor) for floor in (0.3, 0.95))
    assert (passed.answer, failed.answer) == ("pass", "fail")
    assert passed.verdict is failed.verdict is None
    assert any("no verdict is written" in note for note in passed.notes)


def test_a_claimed_release_has_a_verdict_that_says_imported(tmp_path: Path) -> None:
    _write(_inspect("good.eval"), tmp_path / "a.jsonl", release=MANIFEST)
    verdict = _decided(tmp_path / "a.jsonl", at_least=0.3).verdict
    assert verdict is not None
    assert (verdict.release, verdict.release_digest) == (MANIFEST.name, MANIFEST.digest())
    assert "imported, not asked through the gateway: the candidate from inspect-ai 0.3.285" in verdict.predicate.reason


def test_the_manifest_says_where_it_comes_from(tmp_path: Path) -> None:
    _write(_inspect("good.eval"), tmp_path / "a.jsonl")
    source = run_log.read(tmp_path / "a.jsonl").manifest.imported
    assert source is not None
    assert (source.tool, source.version, list(source.files)) == ("inspect-ai", "0.3.285", ["good.eval"])
    assert source.files["good.eval"].startswith("sha256:")


def test_runs_of_the_same_samples_are_compared_and_others_refused(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        _write(_inspect(f"{name}.eval"), tmp_path / f"{name}.jsonl")
    assert _decided(tmp_path / "bad.jsonl", tmp_path / "good.jsonl", margin=0.1).answer == "inconclusive"
    other = _inspect("bad.eval")
    changed = (Sample(id="q00", input="Another question.", reference="0"), *other.samples[1:])
    _write(replace(other, samples=changed), tmp_path / "other.jsonl")
    decision = _decided(tmp_path / "other.jsonl", tmp_path / "good.jsonl", margin=0.1)
    assert decision.answer == "invalid"
    assert "ran with different params, scorers or samples" in decision.reason


def test_another_version_of_the_tool_scores_differently(tmp_path: Path) -> None:
    _write(_inspect("good.eval"), tmp_path / "a.jsonl")
    _write(replace(_inspect("bad.eval"), version="0.4.0"), tmp_path / "b.jsonl")
    decision = _decided(tmp_path / "b.jsonl", tmp_path / "a.jsonl", margin=0.1)
    assert "were scored by different versions of exact" in decision.reason


def test_a_data_set_that_is_known_gives_back_what_was_lost(tmp_path: Path) -> None:
    whole, stopped = _inspect("good.eval"), _inspect("stop.eval")
    imports.save_dataset(tmp_path / "d.jsonl", whole)
    known = dataset.load(tmp_path / "d.jsonl")
    with pytest.raises(InputError, match="the text of 11 samples is not in the tool's files, 'q10' among them"):
        imports.save_dataset(tmp_path / "e.jsonl", stopped)
    settled = _write(stopped, tmp_path / "b.jsonl", known=known)
    assert settled.dataset_sha256 == known.digest
    assert settled.failures == {"server_error": 1, "not_reported": 12}
    part = replace(whole, samples=whole.samples[:5], results=whole.results[:5])
    settled = _write(part, tmp_path / "c.jsonl", known=known)
    assert (settled.samples, settled.partial, settled.failures["not_reported"]) == (21, False, 16)


def test_lost_samples_without_a_name_are_found_by_their_number(tmp_path: Path) -> None:
    whole = _inspect("good.eval")
    imports.save_dataset(tmp_path / "d.jsonl", whole)
    known = dataset.load(tmp_path / "d.jsonl")
    lost = Sample(id="lost-1", input=UNREAD)
    settled = _write(
        replace(whole, samples=(*whole.samples[:-1], lost), results=whole.results[:-1]),
        tmp_path / "a.jsonl",
        known=known,
    )
    assert settled.failures["not_reported"] == 1
    with pytest.raises(InputError, match="'lost-1' is not in it"):
        _write(replace(whole, samples=(*whole.samples, lost)), tmp_path / "b.jsonl", known=known)


def test_a_data_set_of_other_samples_is_refused(tmp_path: Path) -> None:
    imports.save_dataset(tmp_path / "d.jsonl", promptfoo.read(SAMPLES / "promptfoo" / "good.json", Choice()))
    with pytest.raises(InputError, match="holds other samples than the results: 'q00' is not in it"):
        _write(_inspect("good.eval"), tmp_path / "a.jsonl", known=dataset.load(tmp_path / "d.jsonl"))


def test_a_limited_run_is_a_part_unless_it_is_taken_as_the_whole(tmp_path: Path) -> None:
    limited = _inspect("epochs.eval")
    assert _write(limited, tmp_path / "a.jsonl").partial
    assert "the run is partial (--limit 3)" in _decided(tmp_path / "a.jsonl", at_least=0.3).reason
    assert not _write(limited, tmp_path / "b.jsonl", whole=True).partial
    assert _decided(tmp_path / "b.jsonl", at_least=0.3).answer == "inconclusive"


def test_two_results_of_one_sample_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    whole = _inspect("good.eval")
    for strange in (whole.results[0], Found("other"), Found("q00", epoch=1)):
        with pytest.raises(InputError, match="expected one result for each sample"):
            _write(replace(whole, results=(*whole.results, strange)), tmp_path / "a.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"latency_s": float("nan")}, "got `null` - at `$.latency_s`"),
        ({"latency_s": float("inf")}, "got `null` - at `$.latency_s`"),
        ({"input_tokens": "12"}, "got `str` - at `$.input_tokens`"),
        ({"text": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_an_answer_that_no_log_holds_is_refused_and_nothing_is_written(
    tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    whole = _inspect("good.eval")
    results = [replace(whole.results[0], answer=Answer(**wrong)), *whole.results[1:]]
    with pytest.raises(InputError) as caught:
        _write(replace(whole, results=tuple(results)), tmp_path / "a.jsonl")
    assert told in str(caught.value)
    assert f"sample {whole.results[0].id!r}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_suite_is_called_what_a_gate_file_can_name(tmp_path: Path) -> None:
    found = replace(_inspect("good.eval"), suite="inspect_evals/numbers+more")
    assert _write(found, tmp_path / "a.jsonl").suite == "inspect_evals-numbers-more"
    assert _decided(tmp_path / "a.jsonl", at_least=0.3).answer == "pass"
    assert _write(found, tmp_path / "b.jsonl", suite="my suite").suite == "my-suite"
    assert _write(replace(found, suite="///"), tmp_path / "c.jsonl").suite == "inspect-ai"


def test_a_metric_that_falls_has_to_be_turned(tmp_path: Path) -> None:
    falling = replace(_inspect("good.eval"), falling=frozenset({"exact"}))
    with pytest.raises(
        InputError, match="'exact' falls as answers get better: turn it with `--scale exact=WORST:BEST`"
    ):
        _write(falling, tmp_path / "a.jsonl")
    _write(falling, tmp_path / "a.jsonl", Choice(scales={"exact": (1, 0)}))
    right = run_log.read(tmp_path / "a.jsonl").records[0]
    assert right.scores["exact"].value == 0.0


def test_results_without_a_metric_are_refused(tmp_path: Path) -> None:
    empty = lm_eval.read(SAMPLES / "lm_eval" / "dummy", Choice(tasks=("ppl",)))
    with pytest.raises(InputError, match=r"no metric with a score for each sample .*word_perplexity: it has no score"):
        _write(empty, tmp_path / "a.jsonl")


def test_a_scale_is_part_of_what_was_measured(tmp_path: Path) -> None:
    found = inspect_log.read(SAMPLES / "inspect" / "good.eval", Choice(metrics=("several.points",)))
    _write(found, tmp_path / "a.jsonl", Choice(scales={"": (0, 100)}))
    _write(found, tmp_path / "b.jsonl", Choice(scales={"": (0, 200)}))
    logs = [run_log.read(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    assert [log.records[0].scores["several.points"].value for log in logs] == [0.8, 0.4]
    assert logs[0].manifest.suite_digest != logs[1].manifest.suite_digest


def test_a_scale_of_a_metric_that_is_not_there_is_refused(tmp_path: Path) -> None:
    log = _inspect("good.eval")
    with pytest.raises(InputError, match="--scale: no metric that is taken is called 'exakt': they are exact"):
        _write(log, tmp_path / "a.jsonl", Choice(metrics=("exact",), scales={"exakt": (0.0, 2.0)}))
    assert not list(tmp_path.iterdir())
    assert _write(log, tmp_path / "a.jsonl", Choice(metrics=("exact",), scales={"": (0.0, 2.0)})).metrics == ("exact",)
