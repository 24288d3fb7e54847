import pytest
from pydantic import ValidationError

from evals.schema import Answer, Sample, Score
from evals.scorers.base import NoServices
from evals.scorers.json_schema import JsonSchema

SCHEMA = {
    "type": "object",
    "properties": {"price": {"$ref": "#/$defs/price"}},
    "required": ["price"],
    "$defs": {"price": {"type": "number", "minimum": 0}},
}


async def score(text: str, **options: object) -> Score:
    scorer = JsonSchema.model_validate({"schema": SCHEMA, **options})
    return await scorer.score(Sample(id="a", input="q"), Answer(text=text), NoServices())


@pytest.mark.parametrize(
    "text", ['{"price": 5}', ' {"price": 0}\n', '```json\n{"price": 5}\n```', '```\n{"price": 5}\n```']
)
async def test_json_of_the_shape_scores(text: str) -> None:
    assert await score(text) == Score(1.0)


async def test_the_explanation_names_what_is_wrong() -> None:
    found = await score('{"price": -1}')
    assert found.value == 0.0
    assert "$.price" in found.explanation


@pytest.mark.parametrize("text", ["five", '{"price": 5', 'Here: {"price": 5}', "[" * 100_000])
async def test_what_is_not_json_scores_nothing(text: str) -> None:
    found = await score(text)
    assert found.value == 0.0
    assert found.explanation.startswith("not JSON")


async def test_strict_takes_bare_json_alone() -> None:
    assert (await score('```json\n{"price": 5}\n```', strict=True)).value == 0.0
    assert (await score('{"price": 5}', strict=True)).value == 1.0


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "objekt"}, "not a JSON schema"),
        ({"properties": {"a": {"$ref": "https://example.org/x.json"}}}, "inside the schema"),
    ],
)
def test_a_schema_that_cannot_judge_is_refused(schema: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        JsonSchema.model_validate({"schema": schema})
