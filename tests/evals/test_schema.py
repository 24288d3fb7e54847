import msgspec
import pytest

from evals.schema import HARNESS_FAILURES, SYSTEM_FAILURES, Manifest, Record, Sample, Score, outcome_of


def test_every_kind_of_failure_has_exactly_one_outcome() -> None:
    assert not set(SYSTEM_FAILURES) & set(HARNESS_FAILURES)
    assert {outcome_of(kind) for kind in SYSTEM_FAILURES} == {"system_error"}
    assert {outcome_of(kind) for kind in HARNESS_FAILURES} == {"harness_error"}


def test_a_kind_outside_the_closed_set_is_an_error() -> None:
    with pytest.raises(KeyError, match="bad_luck"):
        outcome_of("bad_luck")


@pytest.mark.parametrize(("reference", "expected"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_references_are_a_list_whatever_the_file_says(reference: object, expected: list[str]) -> None:
    assert msgspec.convert({"id": "1", "input": "q", "reference": reference}, Sample).references() == expected


def test_a_record_survives_its_json() -> None:
    record = Record(id="a", digest="sha256:1", outcome="scored", epoch=2, scores={"exact": Score(0.5, "half")})
    assert msgspec.json.decode(msgspec.json.encode(record), type=Record) == record


def test_metrics_are_named_by_as_and_else_by_the_scorer() -> None:
    manifest = Manifest(
        suite="s",
        suite_digest="d",
        dataset="f",
        dataset_sha256="d",
        samples=1,
        epochs=1,
        model="m",
        params={},
        system=None,
        scorers=[{"name": "exact"}, {"name": "regex", "as": "city", "pattern": "x"}],
    )
    assert manifest.metrics() == ["exact", "city"]
