"""LLM judges: `judge` gives a verdict by a rubric, `pairwise` says which of two answers is better.

Both ask with a JSON schema (`response_format`, which vLLM enforces while it decodes) that wants the reasoning before
the verdict. Whatever else comes back, a cut-off answer, prose, a verdict off the scale, is no verdict: the sample is
then unjudged, never 0 and never left out. All samples get the same number of votes; to ask again only where the verdict
was bad would raise the score.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from evals import dataset, run_log
from evals.client import Result
from evals.lines import Record
from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers import judge_prompt as prompts
from evals.scorers.base import Examined, Scorer, Services
from gateway.contracts import canonical
from gateway.contracts.errors import InputError
from gateway.contracts.release import Digest

Text = Annotated[str, Field(min_length=1)]
Votes = Annotated[int, Field(ge=1, le=99)]
_EXPLANATION_CHARACTERS = 600
_PASS_ON = frozenset({"deadline", "over_budget"})
PAIR_VALUES = {"first": 1.0, "second": 0.0, "tie": 0.5}


class _Asks(Scorer):
    """What both judges share. `model` is the judge's, by its release's name; without it, the suite's judge."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    model: Text | None = None
    votes: Votes = 1
    context: bool = True

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """The mean of the votes, each in [0, 1]. Raises Unjudged when any of them is missing."""
        return (await self.examine(sample, answer, services)).score

    async def _ask(self, services: Services, prompt: prompts.Prompt, vote: int) -> tuple[Any, str]:
        """The verdict and its reasoning. Raises Unjudged."""
        body = prompt.body() if self.model is None else {"model": self.model, **prompt.body()}
        result = await services.chat(body, vote=vote)
        try:
            return prompts.read(_text(result), prompt.verdicts)
        except ValueError as error:
            raise Unjudged("judge_failed", str(error)) from error


class Judge(_Asks):
    """Judges by a rubric, or by several named criteria, each in a question of its own.

    `scale` is `binary` (pass 1, fail 0), or N for grades 1..N, spread evenly over [0, 1]. The value is the mean over
    votes and criteria. `reference: false` keeps the sample's reference from the judge, `context: false` the passages.
    """

    example: ClassVar[Mapping[str, Any]] = {"rubric": "The answer is correct and polite.", "votes": 3}

    rubric: Text | None = None
    scale: Literal["binary"] | Annotated[int, Field(ge=3, le=10)] = "binary"
    criteria: dict[Text, Text] = Field(default_factory=dict)
    reference: bool = True

    @model_validator(mode="after")
    def _something_to_judge_by(self) -> "Judge":
        if self.rubric is None and not self.criteria:
            raise ValueError(
                "nothing to judge by: give `rubric:` a text or {file: NAME}, or `criteria:` names and texts"
            )
        return self

    def judging(self) -> dict[str, Any]:
        """What the judge is told, for its digest."""
        asked = {name: prompts.by_rubric(None, *self._task(name)).identity() for name in self._names()}
        told = {"votes": self.votes, "reference": self.reference, "context": self.context}
        return {"scorer": "judge", "model": self.model, "asked": asked, **told}

    def label_values(self) -> dict[str | int | float, float]:
        """0 and 1, or `fail` and `pass`; or the grades."""
        if isinstance(self.scale, int):
            return {grade: self._value(grade) for grade in range(1, self.scale + 1)}
        return {0: 0.0, 1: 1.0, prompts.FAIL: 0.0, prompts.PASS: 1.0}

    async def examine(self, sample: Sample, answer: Answer, services: Services) -> Examined:
        """The score; there is no order to flip."""
        case = prompts.case(sample, answer, reference=self.reference, context=self.context)
        asked = [(name, prompts.by_rubric(case, *self._task(name))) for name in self._names()]
        calls = [self._ask(services, prompt, vote) for vote in range(self.votes) for _, prompt in asked]
        found = await _all(calls)
        values = [self._value(verdict) for verdict, _ in found]
        width = len(asked)
        votes = [sum(values[at : at + width]) / width for at in range(0, len(values), width)]
        first = [
            f"{name}: {verdict} ({why})" if name else f"{verdict}: {why}"
            for (name, _), (verdict, why) in zip(asked, found, strict=False)
        ]
        return Examined(Score(sum(votes) / len(votes), "; ".join(first)[:_EXPLANATION_CHARACTERS], votes))

    def _names(self) -> list[str]:
        return list(self.criteria) or [""]

    def _task(self, criterion: str) -> tuple[str | None, str, Literal["binary"] | int]:
        text = f"{criterion}: {self.criteria[criterion]}" if criterion else ""
        return self.rubric, text, self.scale

    def _value(self, verdict: str | int) -> float:
        if isinstance(verdict, int) and isinstance(self.scale, int):
            return (verdict - 1) / (self.scale - 1)
        return 1.0 if verdict == prompts.PASS else 0.0


class Pairwise(_Asks):
    """Whether the answer is better than a rival's: 1 better, 0.5 a tie, 0 worse; each vote asks in both orders.

    Where the orders disagree, the vote is a tie. The rival is the sample's first reference, or the answer that the run
    `against` gave to the same sample.
    """

    example: ClassVar[Mapping[str, Any]] = {"rubric": "The better answer is correct, and then the shorter one."}

    rubric: Text
    against: Text | None = None
    against_sha256: Digest | None = None

    @model_validator(mode="after")
    def _readable(self) -> "Pairwise":
        try:
            log = self._log
        except InputError as error:
            raise ValueError(f"against: {error}") from error
        if log is not None and self.against_sha256 not in (None, log.digest):
            raise ValueError(f"against: {self.against!r} is {log.digest}, expected {self.against_sha256}: another run")
        return self

    @cached_property
    def _log(self) -> run_log.Log | None:
        return None if self.against is None else run_log.read(Path(self.against))

    @cached_property
    def _rivals(self) -> dict[str, Record]:
        """By sample id; of several epochs the first that has an answer."""
        found: dict[str, Record] = {}
        for record in self._log.records if self._log else ():
            if record.outcome == "scored" and (record.id not in found or record.epoch < found[record.id].epoch):
                found[record.id] = record
        return found

    def judging(self) -> dict[str, Any]:
        """What the judge is told, for its digest. The rival is not part of the judge."""
        asked = prompts.pair(None, "", "", self.rubric).identity()
        return {"scorer": "pairwise", "model": self.model, "asked": asked, "votes": self.votes, "context": self.context}

    def label_values(self) -> dict[str | int | float, float]:
        """0, 0.5 and 1, or `loss`, `tie` and `win`."""
        return {0: 0.0, 0.5: 0.5, 1: 1.0, "loss": 0.0, "tie": 0.5, "win": 1.0}

    async def examine(self, sample: Sample, answer: Answer, services: Services) -> Examined:
        """The score, and the share of votes whose two orders disagreed."""
        rival, ours = self._rival(sample), prompts.said(answer)
        if rival.strip() == ours.strip():
            return Examined(Score(0.5, "the two answers are the same", [0.5] * self.votes), 0.0)
        case = prompts.case(sample, answer, reference=False, context=self.context)
        straight, swapped = prompts.pair(case, ours, rival, self.rubric), prompts.pair(case, rival, ours, self.rubric)
        calls = [self._ask(services, asked, vote) for vote in range(self.votes) for asked in (straight, swapped)]
        found = await _all(calls)
        pairs = [(PAIR_VALUES[found[at][0]], 1.0 - PAIR_VALUES[found[at + 1][0]]) for at in range(0, len(found), 2)]
        votes = [one if one == other else 0.5 for one, other in pairs]
        flips = sum(one != other for one, other in pairs)
        order = f"the order flipped {flips} of {len(pairs)} verdicts" if flips else "both orders agree"
        text = f"{order}; {found[0][1]}"[:_EXPLANATION_CHARACTERS]
        return Examined(Score(sum(votes) / len(votes), text, votes), flips / len(pairs))

    def _rival(self, sample: Sample) -> str:
        """The other answer. Raises Unjudged where there is none, ValueError for a sample without a reference."""
        if self.against is None:
            found = sample.references()
            if not found:
                raise ValueError(f"sample {sample.id!r} has no reference to compare with: add one, or `against: LOG`")
            return found[0]
        record = self._rivals.get(sample.id)
        if record is None or record.answer is None:
            raise Unjudged("not_measured", f"the run {self.against!r} has no answer to sample {sample.id!r}")
        if record.digest != dataset.sample_digest(sample):
            raise Unjudged("not_measured", f"the run {self.against!r} answered another version of {sample.id!r}")
        return prompts.said(record.answer)


def _text(result: Result) -> str:
    """The judge's answer. Raises Unjudged for a failure, ValueError for an answer that was cut off."""
    if result.failure is not None or result.answer is None:
        failure = result.failure
        kind = failure.kind if failure is not None and failure.kind in _PASS_ON else "judge_failed"
        raise Unjudged(kind, f"the judge: {failure.kind}: {failure.message}" if failure else "the judge said nothing")
    if result.answer.finish_reason not in (None, "stop"):
        raise ValueError(f"the judge's answer ended with {result.answer.finish_reason!r}: raise `judge.max_tokens`")
    return result.answer.text


async def _all(calls: Sequence[Awaitable[tuple[Any, str]]]) -> list[tuple[Any, str]]:
    """Every verdict, or the first failure once all have ended: each sample is asked the same number of times."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


def judge_digest(scorer: Scorer, identity: Mapping[str, Any]) -> str | None:
    """The digest of the judge behind a scorer: prompt, schema, votes, model, parameters. None where no judge is asked.

    `identity` is `JudgeConfig.identity()`; its model counts where the scorer names none.
    """
    told = scorer.judging()
    if told is None:
        return None
    model = told.get("model") or identity.get("model")
    rest = {} if (more := scorer.identity()) is None else {"identity": more}
    return canonical.digest({**told, **rest, "model": model, "params": {**identity, "model": model}})


SCORERS: dict[str, type[Scorer]] = {"judge": Judge, "pairwise": Pairwise}
