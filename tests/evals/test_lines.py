import msgspec

from evals.lines import Manifest, Record
from evals.schema import Score


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
