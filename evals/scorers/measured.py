"""Latency, cost and length of an answer as scores in [0, 1].

1 up to `at_most`, 0 above it; with `zero_at` the score falls in a straight line from 1 at `at_most` to 0 at `zero_at`.
A figure that was not measured for this answer (it came out of a cache, or carries none) is missing evidence, neither a
good nor a bad score.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import Scorer, Services

Figure = Decimal | float


class Latency(Scorer):
    """1 when the whole answer took at most `at_most_s` seconds; falling in a line to 0 at `zero_at_s`, if given.

    Of a conversation, the sum over its turns. Retries and waiting between them are not in it. A latency depends on how
    many requests were under way: compare runs of one `concurrency`.
    """

    example: ClassVar[Mapping[str, Any]] = {"at_most_s": 2.0, "zero_at_s": 10.0}

    at_most_s: float = Field(gt=0, allow_inf_nan=False)
    zero_at_s: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _falls(self) -> "Latency":
        _check_order("at_most_s", self.at_most_s, "zero_at_s", self.zero_at_s)
        return self

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1]. Raises Unjudged for an answer out of a cache, or one whose time was not taken."""
        if answer.cached:
            raise Unjudged("not_measured", "the answer came out of a cache: its latency says nothing")
        if not 0 < answer.latency_s < float("inf"):
            raise Unjudged("not_measured", f"the answer carries no latency (found {answer.latency_s!r} s)")
        return Score(_falling(answer.latency_s, self.at_most_s, self.zero_at_s), f"{answer.latency_s:g} s")


class Cost(Scorer):
    """1 when the answer cost at most `at_most_usd` US dollars; falling in a line to 0 at `zero_at_usd`, if given.

    The cost is what the gateway puts on an answer (`x-tollgate-cost`), exact to the last digit; of a conversation, the
    sum over its turns.
    """

    example: ClassVar[Mapping[str, Any]] = {"at_most_usd": 0.002, "zero_at_usd": 0.01}

    at_most_usd: Decimal = Field(ge=0, allow_inf_nan=False)
    zero_at_usd: Decimal | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _falls(self) -> "Cost":
        _check_order("at_most_usd", self.at_most_usd, "zero_at_usd", self.zero_at_usd)
        return self

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1]. Raises Unjudged for an answer out of a cache, or one without a cost."""
        if answer.cached:
            raise Unjudged("not_measured", "the answer came out of a cache: what it cost says nothing")
        try:
            cost = Decimal(answer.cost or "")
        except InvalidOperation as error:
            raise Unjudged("not_measured", f"the answer carries no cost (found {answer.cost!r})") from error
        if not cost.is_finite() or cost < 0:
            raise Unjudged("not_measured", f"the answer carries no cost (found {answer.cost!r})")
        return Score(_falling(cost, self.at_most_usd, self.zero_at_usd), f"{cost} USD")


class Length(Scorer):
    """1 when the answer is at least `at_least` and at most `at_most` long, in characters, words or tokens.

    With `zero_at` the score falls in a straight line from 1 at `at_most` to 0 there. Tokens are those that the engine
    counted, with hidden reasoning, and of a conversation the sum over its turns; characters and words are of the last
    text.
    """

    example: ClassVar[Mapping[str, Any]] = {"unit": "words", "at_most": 80, "zero_at": 160}

    unit: Literal["characters", "words", "tokens"] = "characters"
    at_least: int | None = Field(default=None, ge=1)
    at_most: int | None = Field(default=None, ge=1)
    zero_at: int | None = None

    @model_validator(mode="after")
    def _asks(self) -> "Length":
        if self.at_least is None and self.at_most is None:
            raise ValueError("expected `at_least`, `at_most` or both: nothing is asked for")
        if self.at_most is None and self.zero_at is not None:
            raise ValueError("zero_at: the score falls from `at_most` on, and there is none")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least} lies above at_most {self.at_most}: no answer could pass")
        if self.at_most is not None:
            _check_order("at_most", self.at_most, "zero_at", self.zero_at)
        return self

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1]. Raises Unjudged for an answer whose tokens were not counted."""
        length = self._length(answer)
        if self.at_least is not None and length < self.at_least:
            return Score(0.0, f"{length} {self.unit}")
        value = 1.0 if self.at_most is None else _falling(length, self.at_most, self.zero_at)
        return Score(value, f"{length} {self.unit}")

    def _length(self, answer: Answer) -> int:
        if self.unit == "characters":
            return len(answer.text.strip())
        if self.unit == "words":
            return len(answer.text.split())
        if answer.output_tokens is None:
            raise Unjudged("not_measured", "the engine did not count the answer's tokens")
        return answer.output_tokens


def _check_order(low_name: str, low: Figure, high_name: str, high: Figure | None) -> None:
    if high is not None and high <= low:
        raise ValueError(f"{high_name}: expected more than {low_name} ({low}), found {high}")


def _falling(value: Figure, at_most: Figure, zero_at: Figure | None) -> float:
    figure, full = Decimal(str(value)), Decimal(str(at_most))
    if figure <= full:
        return 1.0
    none = full if zero_at is None else Decimal(str(zero_at))
    return float((none - figure) / (none - full)) if figure < none else 0.0


SCORERS: dict[str, type[Scorer]] = {"latency": Latency, "cost": Cost, "length": Length}
