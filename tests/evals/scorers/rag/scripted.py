"""A judge and an embedding model that say what a test wrote down, behind the seam that scorers have."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evals.client import Result
from evals.schema import Answer, Failure, Passage, Sample, Score, Unjudged
from evals.scorers.rag import SCORERS

Said = Any
"""JSON to say, text to say as it stands, a `Result`, or a function of the prompt's input that gives one of them."""


class Scripted:
    """Answers each request by the name of its schema: `Scripted(NLIStatementOutput=...)`. A list is said in turn.

    `vectors` are embeddings by text. `asked` keeps (name, body, vote) of each request.
    """

    def __init__(self, vectors: Mapping[str, Sequence[float]] | None = None, **replies: Said) -> None:
        self._replies = replies
        self._vectors = vectors or {}
        self._turns: dict[str, int] = defaultdict(int)
        self.asked: list[tuple[str, dict[str, Any], int]] = []
        self.embedded: list[tuple[list[str], str | None]] = []

    async def chat(self, body: Mapping[str, Any], *, vote: int = 0) -> Result:
        """The next reply to this schema."""
        name = body["response_format"]["json_schema"]["name"]
        self.asked.append((name, dict(body), vote))
        said = self.say(name, body["messages"][0]["content"])
        if isinstance(said, Result):
            return said
        text = said if isinstance(said, str) else json.dumps(said)
        return Result(answer=Answer(text=text, finish_reason="stop"))

    def say(self, name: str, prompt: str) -> Said:
        """What is to be said next."""
        said = self._replies[name]
        if isinstance(said, list):
            self._turns[name] += 1
            said = said[self._turns[name] - 1]
        return said(input_of(prompt)) if callable(said) else said

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Sequence[Sequence[float]]:
        """The vectors of these texts."""
        self.embedded.append((list(texts), model))
        return [self._vectors[text] for text in texts]

    @property
    def names(self) -> list[str]:
        """The schemas that were asked for, in order."""
        return [name for name, _, _ in self.asked]


def input_of(prompt: str) -> dict[str, Any]:
    """The input at the end of a prompt of ragas."""
    found = re.search(r"\ninput: (\{.*\})\nOutput: $", prompt, re.DOTALL)
    assert found, prompt[-200:]
    read: dict[str, Any] = json.loads(found[1])
    return read


def statements(*texts: str) -> dict[str, Any]:
    """The reply that lists statements."""
    return {"statements": list(texts)}


def verdicts(**judged: int) -> dict[str, Any]:
    """The reply that judges statements; an underscore in a name is a space."""
    return verdict_list([(name.replace("_", " "), verdict) for name, verdict in judged.items()])


def verdict_list(judged: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The reply that judges statements."""
    return {"statements": [{"statement": s, "reason": "because", "verdict": v} for s, v in judged]}


def judging(supported: Callable[[str], int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A judge of statements that decides each one by a function."""
    return lambda given: verdict_list([(text, supported(text)) for text in given["statements"]])


def cut_off(said: Said) -> Result:
    """A reply that ran into max_tokens, however complete it looks."""
    return Result(answer=Answer(text=json.dumps(said), finish_reason="length"))


REFUSED = Result(failure=Failure("rejected", "400: this schema is not supported"))
ASKED = "Who was Ada?"


async def score(
    metric: str,
    services: Scripted,
    *,
    text: str = "Ada was a mathematician.",
    passages: Sequence[str] | None = ("Ada was a mathematician.",),
    sample: Sample | None = None,
    **options: Any,
) -> Score:
    """The score of one answer."""
    found = None if passages is None else [Passage(str(number), each) for number, each in enumerate(passages)]
    asked = sample or Sample(id="a", input=ASKED, reference="Ada was a mathematician.")
    return await SCORERS[metric].model_validate(options).score(asked, Answer(text=text, passages=found), services)


async def unjudged(metric: str, services: Scripted, **given: Any) -> Unjudged:
    """The failure that takes the place of a score."""
    try:
        found = await score(metric, services, **given)
    except Unjudged as failure:
        return failure
    raise AssertionError(f"expected no score, found {found}")
