"""The words of an evaluation as data: sample, answer, score, failure, record, manifest.

**Outcomes** are a closed set. Every sample of a data set ends in exactly one of them, for every epoch:

- `scored`: the system answered and every scorer judged the answer.
- `system_error`: the system under test failed in a way that its user would have seen. That is a score of 0.
- `harness_error`: the evidence is missing. The score is unknown, anywhere in [0, 1]; it never leaves the denominator.

An answer that was cut off at `max_tokens` is scored as it stands; one without any text is an error of the system.

The kind of a failure decides between the last two (`SYSTEM_FAILURES`, `HARNESS_FAILURES`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from gateway.contracts.verdict import Answer as Answers
from gateway.contracts.verdict import MetricResult, Verdict

Outcome = Literal["scored", "system_error", "harness_error"]
OUTCOMES: tuple[Outcome, ...] = ("scored", "system_error", "harness_error")

SYSTEM_FAILURES: dict[str, str] = {
    "rejected": "the gateway or the engine refused the request itself (400, 413, 422; a prompt that is too long)",
    "server_error": "an answer of 500 or above, after every retry",
    "bad_response": "an answer of 200 that is no chat completion",
    "empty_answer": "a completion without text, for example one that used up its tokens before it said anything",
}
HARNESS_FAILURES: dict[str, str] = {
    "unreachable": "no connection to the gateway, or one that broke, after every retry",
    "timeout": "no answer within timeout_s, after every retry",
    "not_allowed": "the key is unknown, or may not do this (401, 403)",
    "not_found": "no such model or URL (404, 405)",
    "limited": "a rate limit or a budget (429), after every retry",
    "not_gated": "the gateway serves no such release without a verdict (503 release_not_gated)",
    "deadline": "the run's deadline passed before this sample was done",
    "scorer_crashed": "a scorer raised an error, or gave a score outside [0, 1]",
}


def outcome_of(failure_kind: str) -> Outcome:
    """The outcome that a kind of failure means. Raises KeyError for a kind that is in neither table."""
    if failure_kind in SYSTEM_FAILURES:
        return "system_error"
    HARNESS_FAILURES[failure_kind]
    return "harness_error"


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question.

    `input` is a user message, or a list of chat messages. `reference` is the expected answer, or a list of equally good
    ones. Samples of one `cluster` are not independent (paraphrases, one document): the statistics treat them as a
    unit; without one, a sample is a cluster of its own.
    """

    id: str
    input: str | list[dict[str, Any]]
    reference: str | list[str] | None = None
    tags: list[str] = []
    cluster: str | None = None

    def references(self) -> list[str]:
        """The acceptable answers; empty when there is none."""
        if self.reference is None:
            return []
        return [self.reference] if isinstance(self.reference, str) else self.reference


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came back for one request. Latency in seconds; `cost` is a decimal in text, as the gateway reported it."""

    text: str = ""
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


class Score(msgspec.Struct, frozen=True):
    """A value in [0, 1], higher is better, and why."""

    value: float
    explanation: str = ""


class Failure(msgspec.Struct, frozen=True):
    """What went wrong: a kind of the two tables above, and a message for people."""

    kind: str
    message: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="manifest"):
    """The first line of a run log: everything that a score depends on, so that runs are comparable or are not.

    `samples` counts the whole data set even when `limit` made the run partial. `suite_digest` covers suite name, data
    set, params, system message, scorers and epochs.
    """

    prev: str = ""
    version: str = "tollgate.run/v1"
    suite: str
    suite_digest: str
    dataset: str
    dataset_sha256: str
    samples: int
    epochs: int
    model: str
    params: dict[str, Any]
    system: str | None
    scorers: list[dict[str, Any]]
    limit: int | None = None
    base_url: str = ""
    harness: str = ""
    created: str = ""

    def metrics(self) -> list[str]:
        """The names of the scores that every scored sample carries."""
        return [str(scorer.get("as") or scorer["name"]) for scorer in self.scorers]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="sample"):
    """One line of a run log: one sample in one epoch. `digest` is the sample's own (see `dataset`)."""

    prev: str = ""
    id: str
    digest: str
    outcome: Outcome
    epoch: int = 0
    cluster: str | None = None
    tags: list[str] = []
    scores: dict[str, Score] = {}
    failure: Failure | None = None
    answer: Answer | None = None
    attempts: int = 1


class End(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="end"):
    """The seal: how many sample lines stand before it. A log without one at its end is of an unfinished run."""

    prev: str = ""
    records: int


Line = Manifest | Record | End


@dataclass(frozen=True, slots=True)
class Slice:
    """A metric on the samples of one tag: for information, never for a verdict."""

    metric: str
    tag: str
    samples: int
    estimate: float


@dataclass(frozen=True, slots=True)
class Flips:
    """Sample ids whose score certainly fell, and certainly rose, from baseline to candidate."""

    regressed: tuple[str, ...] = ()
    improved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a gate says, for the reports. `verdict` is None when there is no release to say it about.

    `problems` are the reasons for `invalid` that concern the whole run; `owners` stand in the order of `metrics`;
    `flips` are by metric label.
    """

    gate: str
    answer: Answers
    reason: str
    metrics: tuple[MetricResult, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    release: str | None = None
    release_digest: str | None = None
    baseline: str | None = None
    owners: tuple[str, ...] = ()
    flips: Mapping[str, Flips] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()
    verdict: Verdict | None = None
