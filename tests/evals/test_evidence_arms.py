from datetime import UTC, datetime

import msgspec
import pytest

from evals.evidence import arm_as, from_cache, gather, rescored
from evals.gate import decide
from evals.run_log import Log, read
from evals.schema import Failure

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NONINFERIOR = {"metric": "exact", "test": "noninferior", "margin": 0.2}


def scores(wrong: int = 0) -> dict[str, float]:
    return {f"s{i:03}": 0.0 if i < wrong else 1.0 for i in range(100)}


@pytest.fixture
def log(tmp_path, make_arms) -> Log:
    return read(make_arms(tmp_path / "run.jsonl", scores(0), scores(10)))


def ask(gate, candidate, baseline=None):
    return decide(gate, candidate, baseline, now=NOW, harness="test 1")


def altered(run, change):
    log = run.log
    made = tuple(change(record) for record in log.records)
    return gather(Log(log.path, log.manifest, made, log.sealed, log.digest, "", 0), run.arm)


def cached(record):
    return msgspec.structs.replace(record, answer=msgspec.structs.replace(record.answer, cached=True))


def test_each_arm_is_evidence_of_its_own(log: Log) -> None:
    ours, theirs = gather(log), gather(log, "baseline")
    assert (ours.problems, theirs.problems) == ((), ())
    assert (ours.release, theirs.release) == ("faq@2", "faq@1")
    assert sum(unit.score("exact", "baseline")[0] for unit in theirs.units.values()) == 90
    assert (ours.name, theirs.name) == ("run.jsonl#candidate", "run.jsonl#baseline")


def test_arms_of_one_log_are_two_runs_and_one_arm_is_one(log: Log, make_gate) -> None:
    ours, theirs = gather(log), gather(log, "baseline")
    gate = make_gate(ours, NONINFERIOR)
    assert ask(gate, ours, theirs).answer == "pass"
    assert any("the same run" in problem for problem in ask(gate, ours, ours).problems)


def test_an_arm_that_lacks_a_sample_says_so(log: Log) -> None:
    short = tuple(r for r in log.records if (r.id, r.arm) != ("s005", "baseline"))
    cut = Log(log.path, log.manifest, short, True, log.digest, "", 0)
    assert gather(cut).problems == ()
    assert any("99 results of 100" in problem for problem in gather(cut, "baseline").problems)


def test_an_arm_that_the_manifest_does_not_name_is_a_problem(make_evidence) -> None:
    run = make_evidence({"a": 1.0})
    assert any("names no baseline" in problem for problem in gather(run.log, "baseline").problems)
    odd = altered(run, lambda record: msgspec.structs.replace(record, arm="baseline"))
    assert any("names no baseline" in problem for problem in odd.problems)


def test_a_run_of_one_arm_plays_either_role(log: Log, make_evidence) -> None:
    alone = make_evidence({"a": 1.0}).log
    assert (arm_as(alone, "baseline"), arm_as(alone, "candidate")) == ("candidate", "candidate")
    assert (arm_as(log, "baseline"), arm_as(log, "candidate")) == ("baseline", "candidate")


def test_a_run_that_stopped_at_its_cap_is_invalid_whatever_coverage_a_gate_asks_for(make_evidence, make_gate) -> None:
    def unpaid(record):
        if record.id != "s005":
            return record
        failure = Failure("over_budget", "as told")
        return msgspec.structs.replace(record, outcome="harness_error", scores={}, failure=failure, answer=None)

    run = altered(make_evidence(scores()), unpaid)
    decision = ask(make_gate(run, {"metric": "exact", "test": "absolute", "at_least": 0.5}), run)
    assert decision.answer == "invalid"
    assert "spending cap with 1 results to go" in decision.reason


def test_a_gate_refuses_answers_from_the_cache_unless_it_is_told(make_evidence, make_gate) -> None:
    candidate, baseline = altered(make_evidence(scores()), cached), make_evidence(scores(), release="faq@1")
    refused = ask(make_gate(candidate, NONINFERIOR), candidate, baseline)
    assert (refused.answer, "100 answers come from the harness's cache" in refused.reason) == ("invalid", True)
    allowed = ask(make_gate(candidate, NONINFERIOR, cached="allow"), candidate, baseline)
    assert allowed.answer == "pass"
    assert allowed.verdict is not None
    assert "answers from the cache: 100 of the candidate" in allowed.verdict.predicate.reason


def test_a_verdict_without_the_cache_does_not_speak_of_it(make_evidence) -> None:
    assert from_cache(make_evidence({"a": 1.0}), None) == ""


def test_allowing_the_cache_is_another_gate_and_refusing_it_is_the_same_as_ever(make_evidence, make_gate) -> None:
    run = make_evidence({"a": 1.0})
    plain = make_gate(run, NONINFERIOR)
    assert plain.digest() == make_gate(run, NONINFERIOR, cached="refuse").digest()
    assert plain.digest() != make_gate(run, NONINFERIOR, cached="allow").digest()


def test_runs_scored_by_other_versions_of_a_scorer_are_not_compared(make_evidence, make_gate) -> None:
    ours = make_evidence(scores(), scorer_digests={"exact": "sha256:1"})
    theirs = make_evidence(scores(), release="faq@1", scorer_digests={"exact": "sha256:2"})
    decision = ask(make_gate(ours, NONINFERIOR), ours, theirs)
    assert (decision.answer, "different versions of exact" in decision.reason) == ("invalid", True)
    assert rescored(ours, make_evidence(scores(), release="faq@1")) == [], "an old log does not tell"
