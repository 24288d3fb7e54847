"""How a judge is asked: ragas' prompt, a JSON schema that the engine enforces, and a reply that is checked again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from evals.client import Result
from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import Scorer, Services, references
from evals.scorers.rag import prompts
from gateway.contracts import canonical

_COMPLETE = (None, "stop")


def _one_of(*allowed: int) -> Callable[[int], int]:
    def check(value: int) -> int:
        if value not in allowed:
            raise ValueError(f"expected {', '.join(map(str, allowed[:-1]))} or {allowed[-1]}, found {value}")
        return value

    return check


# Not Literal, which takes true and 1.0 for 1.
Binary = Annotated[int, AfterValidator(_one_of(0, 1)), WithJsonSchema({"type": "integer", "enum": [0, 1]})]
Thirds = Annotated[int, AfterValidator(_one_of(0, 1, 2)), WithJsonSchema({"type": "integer", "enum": [0, 1, 2]})]
Even = Annotated[int, AfterValidator(_one_of(0, 2, 4)), WithJsonSchema({"type": "integer", "enum": [0, 2, 4]})]


class Reply(BaseModel):
    """What a judge has to say: ragas' fields, in types that hold no other value. Nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


R = TypeVar("R", bound=Reply)


class RagScorer(Scorer):
    """Options of every metric that asks a judge.

    `model` and `max_tokens` are the judge's of the suite where they are not given, and the seed always is. A judge that
    needs more than `max_tokens` is cut off, and an answer that is cut off judges nothing.
    """

    model: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)

    ASKS: ClassVar[Mapping[str, type[Reply]]] = {}
    """The prompts that the metric is made of, and the reply to each."""

    @model_validator(mode="after")
    def _can_ask(self) -> "RagScorer":
        if not prompts.installed():
            raise ValueError(prompts.INSTALL)
        return self

    def identity(self) -> str | None:
        """Digest of ragas' version, of the prompts with their examples, and of the schemas. Imports ragas."""
        return canonical.digest(
            {
                "ragas": prompts.library()[0],
                "prompts": {name: prompts.blank(name, **self._fixed(name)) for name in self.ASKS},
                "replies": {name: reply.model_json_schema() for name, reply in self.ASKS.items()},
            }
        )

    def judging(self) -> dict[str, Any]:
        """The metric and its options; the prompts are in `identity`."""
        return {"metric": type(self).__name__, **self.model_dump(mode="json")}

    def _fixed(self, prompt: str) -> dict[str, str]:
        """The fields of a prompt that options decide."""
        return {}

    async def _ask(
        self,
        services: Services,
        prompt: str,
        reply: type[R],
        fields: Mapping[str, object],
        *,
        judged: Sequence[str] = (),
        vote: int = 0,
        temperature: float = 0.0,
    ) -> R:
        """The judge's reply. `judged` are the statements of which it must judge each. Raises Unjudged without one."""
        schema = reply.model_json_schema()
        if judged:
            _bind(schema, judged)
        body = {
            "messages": [{"role": "user", "content": prompts.render(prompt, **self._fixed(prompt), **fields)}],
            "temperature": temperature,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": prompts.schema_name(prompt), "strict": True, "schema": schema},
            },
        }
        body |= {name: value for name in ("model", "max_tokens") if (value := getattr(self, name)) is not None}
        return read(await services.chat(body, vote=vote), prompt, reply)


def read(result: Result, prompt: str, reply: type[R]) -> R:
    """The reply in a completion. Raises Unjudged for a failed call, one that was cut off, or JSON of another shape."""
    if result.failure is not None:
        raise Unjudged("judge_failed", f"{prompt}: no verdict: {result.failure.kind}: {result.failure.message}")
    if result.answer is None:
        raise Unjudged("judge_failed", f"{prompt}: the judge gave neither answer nor failure")
    if result.answer.finish_reason not in _COMPLETE:
        hint = "; raise `judge.max_tokens`" if result.answer.finish_reason == "length" else ""
        raise Unjudged(
            "judge_failed",
            f"{prompt}: expected a complete verdict, found finish_reason {result.answer.finish_reason!r}{hint}",
        )
    try:
        return reply.model_validate_json(result.answer.text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the reply"
        raise Unjudged(
            "judge_failed",
            f"{prompt}: {where}: {first['msg']}: does the judge's engine enforce response_format json_schema?",
        ) from error


def _bind(schema: dict[str, Any], judged: Sequence[str]) -> None:
    """Let the engine write a verdict for every statement, no more and no fewer, each under one of their texts."""
    (listed,) = schema["properties"].values()
    listed |= {"minItems": len(judged), "maxItems": len(judged)}
    (item,) = schema["$defs"].values()
    item["properties"]["statement"]["enum"] = list(judged)


def contexts(sample: Sample, answer: Answer) -> list[str]:
    """The passages, best first: what a retriever found, else what the sample brings. Empty: none of them holds text.

    Blank ones among others stay, for they take up a rank. Raises Unjudged where no passages take part at all: there is
    nothing to judge then, good or bad.
    """
    if answer.passages is not None:
        found = [passage.text for passage in answer.passages]
    elif sample.contexts is not None:
        found = list(sample.contexts)
    else:
        raise Unjudged(
            "not_measured",
            f"sample {sample.id!r}: expected passages of a retriever, or `contexts` in the sample; found neither",
        )
    return found if any(text.strip() for text in found) else []


def question(sample: Sample) -> str:
    """What was asked. Raises ValueError where that is not text."""
    if not sample.question().strip():
        raise ValueError(f"sample {sample.id!r}: expected a question in text, found none")
    return sample.question()


async def best(sample: Sample, judge: Callable[[str], Awaitable[Score]]) -> Score:
    """The best score over the references, which are equally good; all of them must be judged.

    One after the other: what bounds the requests in flight is how many samples a run works on at once.
    Raises ValueError for a sample without a reference, or with a blank one.
    """
    found = references(sample)
    if not all(reference.strip() for reference in found):
        raise ValueError(f"sample {sample.id!r}: a reference is blank")
    return max([await judge(reference) for reference in found], key=lambda score: score.value)
