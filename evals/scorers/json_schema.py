"""The answer is JSON of a given shape. jsonschema, an optional dependency, is loaded when a suite uses it."""

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, field_validator

from evals.schema import Answer, Sample, Score
from evals.scorers.base import Scorer, Services

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_FENCE = re.compile(r"^```[A-Za-z0-9]*\s*\n(.*)\n```$", re.DOTALL)


class JsonSchema(Scorer):
    """1 when the answer is JSON that the schema (draft 2020-12) accepts.

    A Markdown fence around it is forgiven, for many models write one; `strict: true` takes bare JSON alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    example: ClassVar[Mapping[str, Any]] = {
        "schema": {"type": "object", "required": ["price"], "properties": {"price": {"type": "number"}}}
    }

    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool = False

    @field_validator("schema_")
    @classmethod
    def _is_schema(cls, value: dict[str, Any]) -> dict[str, Any]:
        import jsonschema

        try:
            jsonschema.Draft202012Validator.check_schema(value)
        except jsonschema.SchemaError as error:
            raise ValueError(f"not a JSON schema: {error.message}") from error
        if _refers_away(value):
            raise ValueError("only references inside the schema itself (#/...) are followed")
        return value

    @cached_property
    def _validator(self) -> "Draft202012Validator":
        import jsonschema

        return jsonschema.Draft202012Validator(self.schema_)

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """1 or 0, with the first error of the schema as explanation."""
        text = answer.text.strip()
        fence = None if self.strict else _FENCE.match(text)
        try:
            value = json.loads(fence[1] if fence else text)
        except (ValueError, RecursionError) as error:
            return Score(0.0, f"not JSON: {error}")
        first = next(iter(self._validator.iter_errors(value)), None)
        return Score(1.0) if first is None else Score(0.0, f"{first.json_path}: {first.message}"[:300])


def _refers_away(schema: Any) -> bool:
    if isinstance(schema, dict):
        target = schema.get("$ref")
        away = isinstance(target, str) and not target.startswith("#")
        return away or any(_refers_away(value) for value in schema.values())
    return isinstance(schema, list) and any(_refers_away(value) for value in schema)


SCORERS: dict[str, type[Scorer]] = {"json_schema": JsonSchema}
