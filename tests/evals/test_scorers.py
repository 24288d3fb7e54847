import pytest

from evals.config import ScorerSpec
from evals.scorers import build, build_all, known
from evals.scorers.text import Exact, Numeric


def spec(**values: object) -> ScorerSpec:
    return ScorerSpec.model_validate(values)


def test_the_registry_finds_every_module() -> None:
    assert {"exact", "includes", "regex", "numeric", "json_schema"} <= set(known())


def test_scorers_are_built_with_their_options_by_metric() -> None:
    built = build_all([spec(name="exact"), spec(name="numeric", tolerance=0.5, **{"as": "price"})])
    assert built == {"exact": Exact(), "price": Numeric(tolerance=0.5)}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"name": "exakt"}, "did you mean 'exact'"),
        ({"name": "zzz"}, "known ones are .*exact, .*includes, .*numeric"),
        ({"name": "numeric", "tolerence": 1}, "unknown option 'tolerence': did you mean 'tolerance'"),
        ({"name": "exact", "zzz": 1}, "its options are normalise"),
        ({"name": "regex"}, "missing option 'pattern'"),
        ({"name": "regex", "pattern": "("}, "pattern: Value error, not a regular expression"),
        ({"name": "json_schema", "schema": {}, "extra": 1}, "its options are schema, strict"),
    ],
)
def test_mistakes_are_named(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected.replace("(", r"\(")):
        build(spec(**values))
