"""The lines of a run log: a manifest, records, the seal."""

from typing import Any

import msgspec

from evals.schema import Answer, Failure, Outcome, Score


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
