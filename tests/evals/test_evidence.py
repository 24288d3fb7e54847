import dataclasses

import msgspec
import pytest

from evals.evidence import UNKNOWN, gather
from evals.lines import Record
from evals.schema import Answer, Failure, Score


def test_known_scores_are_points_and_missing_ones_the_whole_range(make_evidence) -> None:
    run = make_evidence({"a": 0.5, "b": "missing", "c": "system"})
    assert run.problems == ()
    scores = {
        key: (unit.score("exact", "candidate"), unit.score("exact", "baseline")) for key, unit in run.units.items()
    }
    assert scores == {
        "a": ((0.5, 0.5), (0.5, 0.5)),
        "b": ((0.0, 1.0), (0.0, 1.0)),
        "c": ((0.0, 0.0), (0.0, 1.0)),
    }


def test_a_score_that_is_known_counts_where_another_is_missing(make_evidence) -> None:
    (unit,) = make_evidence({"a": 1.0}).units.values()
    record = msgspec.structs.replace(unit.records[0], outcome="harness_error", failure=Failure("judge_failed", ""))
    unit = dataclasses.replace(unit, records=(record,))
    assert unit.missing
    assert (unit.score("exact", "candidate"), unit.score("exact", "baseline")) == ((1.0, 1.0), (1.0, 1.0))
    assert unit.score("rubric", "candidate") == (0.0, 1.0)


def test_epochs_are_averaged_and_a_missing_one_widens_the_average(make_evidence) -> None:
    run = make_evidence({"a": [1.0, 0.0], "b": [1.0, "missing"]})
    assert run.units["a"].score("exact", "candidate") == (0.5, 0.5)
    assert run.units["b"].score("exact", "candidate") == (0.5, 1.0)
    assert run.coverage == 0.5


def test_an_unknown_metric_is_unknown_for_every_scored_sample(make_evidence) -> None:
    assert make_evidence({"a": 1.0}).units["a"].score("f1", "candidate") == (0.0, 1.0)


def test_coverage_counts_the_samples_of_the_data_set(make_evidence) -> None:
    run = make_evidence({"a": 1.0, "b": "system", "c": "missing", "d": 0.0})
    assert run.coverage == 0.75


def test_identity_is_what_all_answers_agree_on(make_evidence) -> None:
    run = make_evidence({"a": 1.0, "b": "missing"})
    assert run.release == "faq@2"
    assert run.release_digest is not None
    assert run.fingerprints == ("engine-1",)


def with_records(make_evidence, records, **changed):
    run = make_evidence({"a": 1.0, "b": 1.0}, **changed)
    log = run.log
    return gather(type(log)(log.path, log.manifest, tuple(records(log.records)), True, log.digest, "", 0))


def replaced(record: Record, **changed: object) -> Record:
    fields = {name: getattr(record, name) for name in Record.__struct_fields__}
    return Record(**fields | changed)


def test_answers_of_two_releases_make_a_run_mixed(make_evidence) -> None:
    other = Answer(text="x", release="faq@3", release_digest="sha256:" + "c" * 64)
    run = with_records(make_evidence, lambda records: [records[0], replaced(records[1], answer=other)])
    assert run.release is None
    assert any("mixed" in problem for problem in run.problems)


def test_one_answer_without_a_release_makes_a_run_mixed(make_evidence) -> None:
    run = with_records(make_evidence, lambda records: [records[0], replaced(records[1], answer=Answer(text="x"))])
    assert any("1 without either" in problem for problem in run.problems)


def test_an_error_without_a_release_does_not(make_evidence) -> None:
    failure = Failure("server_error", "502")

    def records(found):
        return [found[0], replaced(found[1], outcome="system_error", scores={}, failure=failure, answer=Answer())]

    run = with_records(make_evidence, records)
    assert run.problems == ()
    assert run.release == "faq@2"


def test_answers_without_any_release_ask_for_the_gateway(make_evidence) -> None:
    run = with_records(make_evidence, lambda records: [replaced(r, answer=Answer(text="x")) for r in records])
    assert any("through the gateway" in problem for problem in run.problems)


@pytest.mark.parametrize("late", [True, False])
def test_evidence_replaces_missing_evidence_wherever_it_stands(make_evidence, late: bool) -> None:
    def records(found):
        lost = replaced(found[0], outcome="harness_error", scores={}, failure=Failure("timeout", ""), answer=None)
        return [lost, *found] if late else [*found, lost]

    run = with_records(make_evidence, records)
    assert run.problems == ()
    assert run.units["a"].score("exact", "candidate") == (1.0, 1.0)


def test_two_results_for_one_sample_are_a_problem(make_evidence) -> None:
    run = with_records(make_evidence, lambda found: [*found, replaced(found[0], scores={"exact": Score(0.0)})])
    assert any("two results" in problem for problem in run.problems)


def test_one_id_with_two_contents_is_a_problem(make_evidence) -> None:
    run = with_records(make_evidence, lambda found: [*found, replaced(found[0], epoch=1, cluster="elsewhere")])
    assert any("two contents" in problem for problem in run.problems)


def test_a_score_outside_the_range_is_a_problem(make_evidence) -> None:
    run = with_records(make_evidence, lambda found: [found[0], replaced(found[1], scores={"exact": Score(7.0)})])
    assert any("outside [0, 1]" in problem for problem in run.problems)


def test_a_sample_that_left_no_record_is_a_problem(make_evidence) -> None:
    run = with_records(make_evidence, lambda found: found[:1])
    assert any("1 results of 2" in problem for problem in run.problems)


def test_samples_of_another_data_set_are_a_problem(make_evidence) -> None:
    run = with_records(make_evidence, lambda found: [found[0], replaced(found[1], id="z")])
    assert any("not those of the data set" in problem for problem in run.problems)


def test_partial_and_unfinished_runs_say_so(make_evidence) -> None:
    assert any("--limit 1" in problem for problem in make_evidence({"a": 1.0}, limit=1).problems)
    assert any("unfinished" in problem for problem in make_evidence({"a": 1.0}, sealed=False).problems)
    assert any("empty" in problem for problem in make_evidence({}).problems)


def test_a_cluster_can_have_the_name_of_a_sample(make_evidence) -> None:
    run = make_evidence({"a": 1.0, "b": 1.0}, clusters={"b": "a"})
    assert run.units["a"].cluster != run.units["b"].cluster


def test_what_is_no_score_is_missing_evidence_and_a_problem(make_evidence) -> None:
    for value in (float("nan"), 1.5, -0.5):
        run = make_evidence({"a": value})
        assert run.units["a"].score("exact", "candidate") == UNKNOWN
        assert "sample 'a' has a score outside [0, 1]" in run.problems


@pytest.mark.parametrize("answer", [None, Answer(text="")])
def test_where_no_answer_arrived_nobody_is_sent_to_the_gateway(make_evidence, answer: Answer | None) -> None:
    def lost(records):
        failure = Failure("not_found", "404")
        return [msgspec.structs.replace(r, outcome="harness_error", failure=failure, answer=answer) for r in records]

    assert with_records(make_evidence, lost).problems == (
        "no answer arrived, so that nothing says which release was asked",
    )
