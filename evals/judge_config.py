"""The keys of a suite and of a gate that concern judges: `judge`, and `judges` with their floors.

A suite:

    judge: {model: judge@3, release_digest: "sha256:...", max_tokens: 1024, temperature: 0}
    judge: {model: qwen@1, params: {chat_template_kwargs: {enable_thinking: false}}}

A gate:

    judges:
      - {metric: quality, card: judge-card.yaml, card_digest: "sha256:...", min_tpr: 0.9, min_tnr: 0.9, min_kappa: 0.8}
"""

from typing import Annotated, Any

from pydantic import Field, FiniteFloat, field_validator

from evals.durations import Duration
from gateway.contracts import canonical, documents
from gateway.contracts.errors import InputError
from gateway.contracts.release import Digest

Share = Annotated[float, Field(ge=0, le=1)]
_NO_IDENTITY = {"base_url", "api_key_env", "concurrency", "max_retries", "timeout_s"}
_SET_HERE = {
    "model",
    "messages",
    "max_tokens",
    "temperature",
    "seed",
    "response_format",
    "stream",
    "stream_options",
    "n",
}


def sendable(params: dict[str, Any]) -> dict[str, Any]:
    """Fields of a request as they are. Raises ValueError for what JSON does not hold, such as `.nan` or a day."""
    try:
        canonical.canonical_json(params)
    except InputError as error:
        raise ValueError(f"expected what a request can hold: {error}") from error
    return params


class JudgeConfig(documents.Frozen):
    """Who judges, and with what parameters. `timeout_s` is seconds for one attempt.

    `model` is best a release's pinned name; with `release_digest` an answer of any other release is no verdict.
    Without `base_url` the judge is asked where the run's own requests go. `seed` is that of the first vote, each
    further one has the next. `params` are further fields of the request: OpenAI's, or vLLM's own.
    """

    model: Annotated[str, Field(min_length=1)]
    release_digest: Digest | None = None
    base_url: str | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    temperature: Annotated[FiniteFloat, Field(ge=0, le=2)] = 0.0
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    params: dict[str, Any] = Field(default_factory=dict)
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 16
    max_retries: Annotated[int, Field(ge=0, le=20)] = 4
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0

    @field_validator("params")
    @classmethod
    def _free(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(_SET_HERE & set(value))
        if taken:
            raise ValueError(
                f"{', '.join(taken)}: set by the harness, or a key of `judge` itself; leave it out of params"
            )
        return sendable(value)

    def identity(self) -> dict[str, Any]:
        """What changes a verdict, as JSON values; where and how fast the judge is asked does not."""
        found = self.model_dump(mode="json", exclude=_NO_IDENTITY, exclude_none=True)
        return found if self.params else {name: value for name, value in found.items() if name != "params"}


class JudgeFloor(documents.Frozen):
    """What a judge has to have shown before a gate believes it: floors for the LOWER bounds of its card's figures.

    `card` is a path beside the gate file; `card_digest` pins its content. `max_flip_rate` is a ceiling for the upper
    bound of the order-flip rate, and needs a pairwise judge. `max_age` counts from the day of the measurement.
    """

    metric: str
    card: Annotated[str, Field(min_length=1)]
    card_digest: Digest | None = None
    min_tpr: Share
    min_tnr: Share
    min_kappa: Share
    max_flip_rate: Share | None = None
    max_age: Duration = "90d"
