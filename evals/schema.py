"""The words of an evaluation as data: sample, answer, score, failure.

**Outcomes** are a closed set. Every sample of a data set ends in exactly one of them, for every epoch:

- `scored`: the system answered and every scorer judged the answer.
- `system_error`: the system under test failed in a way that its user would have seen. That is a score of 0.
- `harness_error`: the evidence is missing. The score is unknown, anywhere in [0, 1]; it never leaves the denominator.

An answer that was cut off at `max_tokens` is scored as it stands; one without any text is an error of the system.

The kind of a failure decides between the last two (`SYSTEM_FAILURES`, `HARNESS_FAILURES`).
"""

from typing import Any, Literal

import msgspec

Outcome = Literal["scored", "system_error", "harness_error"]
OUTCOMES: tuple[Outcome, ...] = ("scored", "system_error", "harness_error")

Arm = Literal["candidate", "baseline"]
"""Which of the two models of a run a result is of; a run of one model is all candidate."""

SYSTEM_FAILURES: dict[str, str] = {
    "rejected": "the gateway or the engine refused the request itself (400, 413, 422; a prompt that is too long)",
    "server_error": "an answer of 500 or above, after every retry",
    "bad_response": "an answer of 200 that is no chat completion",
    "empty_answer": "neither text nor a tool call, for example an answer that used up its tokens before it said a word",
}
HARNESS_FAILURES: dict[str, str] = {
    "unreachable": "no connection to the gateway, or one that broke, after every retry",
    "timeout": "no answer within timeout_s, after every retry",
    "not_allowed": "the key is unknown, or may not do this (401, 403)",
    "not_found": "no such model or URL (404, 405)",
    "limited": "a rate limit or a budget (429), after every retry",
    "not_gated": "the gateway serves no such release without a verdict (503 release_not_gated)",
    "deadline": "the run's deadline passed before this sample was done",
    "over_budget": "the run's spending cap was reached before this sample was done",
    "retrieval_failed": "the passages that belong to the question could not be fetched",
    "judge_failed": "a judge gave no verdict that can be used: it failed, was cut off, or left something unjudged",
    "not_measured": "the answer lacks what the score is made of: a latency or cost that was not taken, no embedding",
    "not_reported": "another tool's results, or a batch engine's, hold nothing for this sample, or no clear reason",
    "scorer_crashed": "a scorer raised an error, or gave a score outside [0, 1]",
}


def outcome_of(failure_kind: str) -> Outcome:
    """The outcome that a kind of failure means. Raises KeyError for a kind that is in neither table."""
    if failure_kind in SYSTEM_FAILURES:
        return "system_error"
    HARNESS_FAILURES[failure_kind]
    return "harness_error"


def cluster_key(sample_id: str, cluster: str | None) -> str:
    """The unit of the statistics, as a key that no other unit has: a cluster, or a sample on its own."""
    return f"cluster {cluster}" if cluster is not None else f"sample {sample_id}"


class Unjudged(Exception):
    """A scorer cannot judge this answer: the outcome is `harness_error`, of a kind of `HARNESS_FAILURES`."""

    def __init__(self, kind: str, message: str) -> None:
        HARNESS_FAILURES[kind]
        super().__init__(message)
        self.kind = kind


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call of a tool: its name and its arguments, an object."""

    name: str
    arguments: dict[str, Any] = {}


class Passage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a document that was given to the system: its id in the corpus, its text, its similarity."""

    id: str
    text: str
    score: float | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question.

    `input` is a user message, or a list of chat messages. `follow_ups` are further user messages, asked one after the
    other once the one before is answered; the last answer is judged. `reference` is the expected answer, or a list of
    equally good ones. `tools` are offered to the model in OpenAI's shape; `expected_calls` are the calls it should
    make. `relevant` names the documents that a retriever should find, with their grades or without; `contexts` are
    passages that are given with the question. Samples of one `cluster` are not independent (paraphrases, one
    document): the statistics treat them as a unit; without one, a sample is a cluster of its own.
    """

    id: str
    input: str | list[dict[str, Any]]
    reference: str | list[str] | None = None
    tags: list[str] = []
    cluster: str | None = None
    follow_ups: list[str] = []
    tools: list[dict[str, Any]] = []
    expected_calls: list[ToolCall] | None = None
    relevant: list[str] | dict[str, float] | None = None
    contexts: list[str] | None = None

    def references(self) -> list[str]:
        """The acceptable answers; empty when there is none."""
        if self.reference is None:
            return []
        return [self.reference] if isinstance(self.reference, str) else self.reference

    def question(self) -> str:
        """What the user asks: the last user message, or the last follow-up."""
        if self.follow_ups:
            return self.follow_ups[-1]
        if isinstance(self.input, str):
            return self.input
        asked = [message.get("content") for message in self.input if message.get("role") == "user"]
        return asked[-1] if asked and isinstance(asked[-1], str) else ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came back for one sample. Latency in seconds; `cost` is a decimal in text, as the gateway reported it.

    Of a conversation, `text` is the last turn and `turns` are the ones before it; tokens, latency and cost are sums.
    `passages` is what a retriever added to
    the question. `cached`: taken from the harness's own cache, so that its latency and cost say nothing.
    """

    text: str = ""
    tool_calls: list[ToolCall] = []
    passages: list[Passage] | None = None
    turns: list[str] = []
    cached: bool = False
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    fingerprint: str | None = None
    latency_s: float = 0.0
    release: str | None = None
    release_digest: str | None = None
    replica: str | None = None
    cost: str | None = None


class Score(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value in [0, 1], higher is better, and why. `votes` are the single judgements that the value is the mean of."""

    value: float
    explanation: str = ""
    votes: list[float] = []


class Failure(msgspec.Struct, frozen=True):
    """What went wrong: a kind of the two tables above, and a message for people."""

    kind: str
    message: str
