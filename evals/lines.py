"""The lines of a run log: a manifest, records, the seal."""

from typing import Any

import msgspec

from evals.schema import Answer, Arm, Failure, Outcome, Score


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where results come from that another program got: its name and version, the files with their sha256.

    `release` and `release_digest` are what the person who took them over says that answered. Nothing proves it.
    """

    tool: str
    version: str
    files: dict[str, str]
    release: str | None = None
    release_digest: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="manifest"):
    """The first line of a run log: everything that a score depends on, so that runs are comparable or are not.

    `samples` counts the whole data set, or the whole `split` of it, even when `limit` made the run partial.
    `suite_digest` covers suite name, data set, split, params, system message, scorers and epochs. A run of two arms
    asks `model`, the candidate, and `baseline` side by side. `scorer_digests` are by metric and cover what else a
    scorer says that it depends on, `judges` the digests of those that ask a judge. `packages` are versions by name;
    `git_dirty` tells of uncommitted changes, None where there is no repository. The releases and the engines are in
    the answers, for those alone know who answered. `imported` is set where another program asked the questions.
    """

    prev: str = ""
    version: str = "tollgate.run/v1"
    suite: str
    suite_digest: str
    dataset: str
    dataset_sha256: str
    split: str | None = None
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
    baseline: str | None = None
    judges: dict[str, str] = {}
    scorer_digests: dict[str, str] = {}
    packages: dict[str, str] = {}
    seeds: dict[str, int] = {}
    concurrency: int | None = None
    platform: str = ""
    git_revision: str | None = None
    git_dirty: bool | None = None
    imported: Source | None = None

    def arms(self) -> tuple[Arm, ...]:
        """The arms of the run: the candidate, and the baseline where there is one."""
        return ("candidate",) if self.baseline is None else ("candidate", "baseline")

    def asked(self, arm: Arm) -> str:
        """The model that an arm asks for."""
        return self.baseline if arm == "baseline" and self.baseline is not None else self.model

    def metrics(self) -> list[str]:
        """The names of the scores that every scored sample carries."""
        return [str(scorer.get("as") or scorer["name"]) for scorer in self.scorers]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="sample"):
    """One line of a run log: one sample in one epoch of one arm. `digest` is the sample's own (see `dataset`).

    `attempts` is 1 for an answer at the first try, one more for every repeated request, 0 where none was sent.
    """

    prev: str = ""
    id: str
    digest: str
    outcome: Outcome
    epoch: int = 0
    arm: Arm = "candidate"
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
