from decimal import Decimal

import msgspec
import pytest

from evals.evidence import gather
from evals.run_log import Log
from evals.schema import Score
from evals.summary import Group, compare_all, difference, measure_all, noises, projection, retried, summary


def changed(run, change):
    log = run.log
    records = tuple(change(number, record) for number, record in enumerate(log.records))
    return gather(Log(log.path, log.manifest, records, log.sealed, log.digest, "", 0))


def again(attempts: dict[int, int]):
    return lambda number, record: msgspec.structs.replace(record, attempts=attempts.get(number, 1))


def test_retried_results_stand_beside_the_others(make_evidence) -> None:
    run = changed(
        make_evidence({"a": 1.0, "b": 0.0, "c": 1.0, "d": "system", "e": "missing"}), again({2: 2, 3: 5, 4: 5})
    )
    assert retried(run) == {"exact": {"first_try": Group(2, 0.5), "retried": Group(2, 0.5)}}


def test_without_retries_nothing_is_told(make_evidence) -> None:
    assert retried(make_evidence({"a": 1.0})) == {}


def test_noise_is_told_where_repeats_tell_it(make_evidence) -> None:
    assert noises(make_evidence({"a": 1.0, "b": 0.0})) == {}
    split = noises(make_evidence({"a": [1.0, 0.0], "b": [0.0, "system"], "c": [1.0, "missing"]}))["exact"]
    assert split.sampling == pytest.approx(0.25), "an error is a score of 0, missing evidence is none"
    assert split.samples == 3


def test_votes_of_a_judge_are_a_source_of_their_own(make_evidence) -> None:
    def vote(number, record):
        votes = [1.0, 0.0] if number == 0 else [1.0, 1.0]
        return msgspec.structs.replace(record, scores={"exact": Score(sum(votes) / 2, votes=votes)})

    split = noises(changed(make_evidence({"a": 1.0, "b": 1.0}), vote))["exact"]
    assert split.judge == pytest.approx(0.25)


def test_a_part_of_a_run_projects_the_cost_of_the_whole(make_evidence) -> None:
    run = make_evidence({f"s{i}": 1.0 for i in range(20)}, samples=100, limit=20)
    found = projection(run)
    assert found is not None
    assert found.total == Decimal("0.100")
    assert summary(run)["projected_cost"] == {"total": "0.1", "low": "0.1", "high": "0.1"}


def test_a_whole_run_needs_no_projection(make_evidence) -> None:
    assert projection(make_evidence({f"s{i}": 1.0 for i in range(20)})) is None


def test_a_summary_is_json(make_evidence) -> None:
    found = msgspec.json.decode(msgspec.json.encode(summary(make_evidence({"a": 1.0, "b": "missing"}))))
    assert found["metrics"]["exact"]["missing"] == 1
    assert (found["cost"], found["engine_fingerprints"]) == ("0.001", ["engine-1"])


def test_differences_are_of_the_metrics_that_both_have(make_evidence) -> None:
    scorers = [{"name": "exact"}, {"name": "includes"}]
    ours, theirs = make_evidence({"a": 1.0}, scorers=scorers), make_evidence({"a": 0.0}, release="faq@1")
    assert set(measure_all(ours)) == {"exact", "includes"}
    assert set(compare_all(ours, theirs)) == {"exact"}
    assert difference(ours, theirs)["difference"]["exact"]["baseline"] == 0.0
