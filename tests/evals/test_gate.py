from datetime import UTC, datetime, timedelta

from evals.gate import EXIT_CODES, decide
from gateway.contracts import release
from gateway.contracts.verdict import from_statement

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NONINFERIOR = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.1}
ABSOLUTE = {"metric": "exact", "owner": "product", "test": "absolute", "at_least": 0.6}


def scores(count: int, wrong: int = 0, **special: object) -> dict[str, object]:
    values: dict[str, object] = {f"s{i:03}": 0.0 if i < wrong else 1.0 for i in range(count)}
    return values | special


def ask(gate, candidate, baseline=None, **options):
    return decide(gate, candidate, baseline, now=NOW, harness="test 1", **options)


# One verdict of each kind


def test_a_release_as_good_as_the_baseline_passes(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(scores(100, 5)), make_evidence(scores(100, 5), release="faq@1")
    decision = ask(make_gate(candidate, NONINFERIOR, ABSOLUTE), candidate, baseline)
    assert decision.answer == "pass"
    assert [result.verdict for result in decision.metrics] == ["pass", "pass"]
    assert decision.metrics[0].samples == decision.metrics[0].clusters == 100


def test_a_worse_release_fails(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(scores(100, 30)), make_evidence(scores(100, 5), release="faq@1")
    decision = ask(make_gate(candidate, NONINFERIOR), candidate, baseline)
    assert decision.answer == "fail"
    assert "proven worse" in decision.reason
    assert decision.flips["exact"].regressed == tuple(f"s{i:03}" for i in range(5, 30))


def test_too_little_evidence_is_inconclusive_and_says_how_much_would_do(make_evidence, make_gate) -> None:
    values = scores(20, 2)
    candidate, baseline = make_evidence(values), make_evidence(values, release="faq@1")
    decision = ask(make_gate(candidate, NONINFERIOR), candidate, baseline)
    assert decision.answer == "inconclusive"
    (result,) = decision.metrics
    assert result.samples_needed is not None
    assert 20 < result.samples_needed < 100
    assert f"about {result.samples_needed} samples" in result.reason


def test_an_estimate_beyond_the_margin_says_that_more_samples_will_not_help(make_evidence, make_gate) -> None:
    values = scores(20, 2) | {"s010": 0.0, "s011": 0.0, "s012": 0.0, "s000": 1.0}
    candidate, baseline = make_evidence(values), make_evidence(scores(20, 1), release="faq@1")
    decision = ask(make_gate(candidate, NONINFERIOR), candidate, baseline)
    assert decision.answer == "inconclusive"
    assert "the estimate itself is below it" in decision.reason
    assert decision.metrics[0].samples_needed is None


def test_an_absolute_gate_needs_no_baseline(make_evidence, make_gate) -> None:
    for wrong, expected in ((5, "pass"), (70, "fail"), (38, "inconclusive")):
        candidate = make_evidence(scores(100, wrong))
        assert ask(make_gate(candidate, ABSOLUTE), candidate).answer == expected


def test_a_baseline_that_no_metric_uses_is_noted(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(scores(100)), make_evidence(scores(100), release="faq@1")
    decision = ask(make_gate(candidate, ABSOLUTE), candidate, baseline)
    assert any("not used" in note for note in decision.notes)
    assert decision.baseline is None


def test_the_strongest_objection_decides(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(scores(100, 30)), make_evidence(scores(100, 5), release="faq@1")
    decision = ask(make_gate(candidate, ABSOLUTE, NONINFERIOR), candidate, baseline)
    assert [result.verdict for result in decision.metrics] == ["pass", "fail"]
    assert decision.answer == "fail"


def test_exit_codes() -> None:
    assert EXIT_CODES == {"pass": 0, "waived": 0, "fail": 1, "inconclusive": 2, "invalid": 3}


# Invalid


def invalid(decision, text: str) -> None:
    assert decision.answer == "invalid"
    assert text in decision.reason


def test_a_run_of_another_suite_or_data_set(make_evidence, make_gate) -> None:
    candidate = make_evidence(scores(100))
    invalid(ask(make_gate(candidate, ABSOLUTE, suite="other"), candidate), "the run is of suite 'faq'")
    other = make_gate(candidate, ABSOLUTE, dataset_sha256="sha256:" + "0" * 64)
    invalid(ask(other, candidate), "the run used data set")


def test_a_gate_for_a_split_takes_runs_of_that_split_alone(make_evidence, make_gate) -> None:
    whole, part = make_evidence({"a": 1.0, "b": 1.0}), make_evidence({"a": 1.0, "b": 1.0}, split="test")
    of_part = make_gate(part, ABSOLUTE, split="test")
    invalid(ask(of_part, whole), "the run used no split, the gate is for the split 'test'")
    assert "split" not in ask(of_part, part).reason
    assert "split" not in ask(make_gate(part, ABSOLUTE), part).reason


def test_a_baseline_of_another_data_set(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(scores(100)), make_evidence(scores(99), release="faq@1")
    invalid(ask(make_gate(candidate, NONINFERIOR), candidate, baseline), "baseline: the run used data set")


def test_a_baseline_with_other_parameters(make_evidence, make_gate) -> None:
    candidate = make_evidence(scores(100))
    baseline = make_evidence(scores(100), release="faq@1", suite_digest="sha256:" + "1" * 64)
    decision = ask(make_gate(candidate, NONINFERIOR), candidate, baseline)
    invalid(decision, "different params, scorers or samples")
    assert decision.metrics == ()


def test_no_baseline_where_one_is_needed(make_evidence, make_gate) -> None:
    candidate = make_evidence(scores(100))
    invalid(ask(make_gate(candidate, NONINFERIOR), candidate), "--baseline")


def test_a_run_is_not_its_own_baseline(make_evidence, make_gate) -> None:
    candidate = make_evidence(scores(100))
    invalid(ask(make_gate(candidate, NONINFERIOR), candidate, candidate), "the same run")


def test_too_little_coverage(make_evidence, make_gate) -> None:
    candidate = make_evidence(scores(100, s000="missing", s001="missing"))
    assert ask(make_gate(candidate, ABSOLUTE, min_coverage=0.98), candidate).answer == "pass"
    invalid(ask(make_gate(candidate, ABSOLUTE, min_coverage=0.99), candidate), "coverage is 98.00%")


def test_an_unfinished_or_partial_run(make_evidence, make_gate) -> None:
    for changed, text in (({"sealed": False}, "unfinished"), ({"limit": 100}, "--limit 100")):
        candidate = make_evidence(scores(100), **changed)
        invalid(ask(make_gate(candidate, ABSOLUTE), candidate), text)


def test_another_manifest_than_what_answered(make_evidence, make_gate) -> None:
    manifest = release.ReleaseManifest.model_validate(
        {"name": "faq@2", "model": {"id": "m"}, "engine": {"name": "vllm"}}
    )
    candidate = make_evidence(scores(100))
    invalid(ask(make_gate(candidate, ABSOLUTE), candidate, manifest=manifest), manifest.digest())


def test_an_underpowered_plan_never_passes(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(scores(100)), make_evidence(scores(100), release="faq@1")
    decision = ask(make_gate(candidate, NONINFERIOR | {"planned_sd": 0.9}), candidate, baseline)
    invalid(decision, "planned power is 0.")
    assert decision.metrics[0].samples_needed is not None
    assert decision.metrics[0].samples_needed > 400


def test_a_metric_or_a_tag_that_the_run_does_not_have(make_evidence, make_gate) -> None:
    candidate = make_evidence(scores(100))
    invalid(ask(make_gate(candidate, ABSOLUTE | {"metric": "f1"}), candidate), "no such metric; it has exact")
    invalid(ask(make_gate(candidate, ABSOLUTE | {"tag": "nowhere"}), candidate), "no sample has the tag 'nowhere'")


def test_without_a_release_digest_there_is_no_verdict(make_evidence, make_gate) -> None:
    candidate = make_evidence(scores(100), release="")
    decision = ask(make_gate(candidate, ABSOLUTE), candidate)
    invalid(decision, "through the gateway")
    assert decision.verdict is None


# Plans


def test_a_gate_without_a_plan_says_so(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(scores(100)), make_evidence(scores(100), release="faq@1")
    decision = ask(make_gate(candidate, NONINFERIOR), candidate, baseline)
    assert decision.answer == "pass"
    assert decision.metrics[0].planned_power is None
    assert any("no plan" in note for note in decision.notes)


def test_the_same_release_twice_is_noted(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(scores(100, 5)), make_evidence(scores(100, 6))
    decision = ask(make_gate(candidate, NONINFERIOR), candidate, baseline)
    assert any("the same release" in note for note in decision.notes)


# The verdict


def test_the_verdict_names_what_it_rests_on(make_evidence, make_gate) -> None:
    candidate, baseline = make_evidence(scores(100)), make_evidence(scores(100), release="faq@1")
    gate = make_gate(candidate, NONINFERIOR, ttl="12h")
    verdict = ask(gate, candidate, baseline).verdict
    assert verdict is not None
    assert (verdict.release, verdict.release_digest) == ("faq@2", candidate.release_digest)
    predicate = verdict.predicate
    assert (predicate.created, predicate.expires) == (NOW, NOW + timedelta(hours=12))
    assert (predicate.gate.name, predicate.gate.digest) == ("release", gate.digest())
    assert predicate.candidate_run.digest == candidate.log.digest
    assert predicate.baseline is not None
    assert predicate.baseline.digest == baseline.release_digest
    assert predicate.engine_fingerprints == ("engine-1",)
    assert verdict.refusal(verdict.release_digest, NOW) is None
    assert from_statement(verdict.statement()) == verdict
