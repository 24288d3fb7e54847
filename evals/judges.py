"""The judges of a suite: whom to ask, and the digest of each, which a run's manifest carries and a card pins."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.config import ScorerSpec, SuiteConfig, load_suite
from evals.judge_config import JudgeConfig
from evals.scorers import build
from evals.scorers.base import Scorer
from evals.scorers.judge import judge_digest
from gateway.contracts import documents
from gateway.contracts.errors import InputError


class JudgeFile(documents.Frozen):
    """A judge on its own, without a suite: `judge: {model: ...}` and `scorer: {name: judge, rubric: ...}`."""

    judge: JudgeConfig
    scorer: ScorerSpec


@dataclass(frozen=True, slots=True)
class Named:
    """One judge: the metric that it gives, its scorer, whom it asks, and its digest."""

    metric: str
    spec: ScorerSpec
    scorer: Scorer
    config: JudgeConfig
    digest: str

    @property
    def model(self) -> str:
        """The name of the model that is asked."""
        told = self.scorer.judging() or {}
        return str(told.get("model") or self.config.model)


def config_of(suite: SuiteConfig) -> JudgeConfig | None:
    """Whom the suite's judges ask: its `judge`, or the first model that a scorer names. None without a judge."""
    if suite.judge is not None:
        return suite.judge
    told = [build(spec).judging() for spec in suite.scorers]
    models = [str(one["model"]) for one in told if one is not None and one.get("model")]
    return JudgeConfig(model=models[0]) if models else None


def digests(suite: SuiteConfig) -> dict[str, str]:
    """The digest of the judge of each metric that one gives, for `Manifest.judges`. Raises InputError."""
    return {judge.metric: judge.digest for judge in of_suite(suite)}


def of_suite(suite: SuiteConfig) -> list[Named]:
    """The judges of a suite. Raises InputError for one that names no model, when the suite has no `judge` either."""
    config, found = config_of(suite), []
    for spec in suite.scorers:
        scorer = build(spec)
        told = scorer.judging()
        if told is None:
            continue
        if config is None or (suite.judge is None and not told.get("model")):
            raise InputError(
                f"the metric {spec.metric!r} needs a judge, and the suite names none: add `judge: {{model: NAME@1}}`"
            )
        found.append(_named(spec, scorer, config))
    return found


def load(path: Path, metric: str | None = None) -> Named:
    """The judge of a file: a suite, or a `JudgeFile`. Raises InputError where it has none, or several and no name."""
    values, _ = documents.parse(documents.read_text(path), str(path))
    found = _of_file(path) if isinstance(values, dict) and "scorer" in values else of_suite(load_suite(path, build))
    named = [judge for judge in found if judge.scorer.label_values() and metric in (None, judge.metric)]
    if len(named) != 1:
        listed = ", ".join(judge.metric for judge in found) or "none"
        raise InputError(f"{str(path)!r}: expected one judge to measure, found {listed}: choose one with --metric")
    return named[0]


def _of_file(path: Path) -> list[Named]:
    def check(file: JudgeFile) -> Any:
        try:
            filled.append(file.scorer.beside(path.parent))
            build(filled[-1])
        except ValueError as error:
            yield ("scorer", "name"), str(error)

    filled: list[ScorerSpec] = []
    file = documents.load(path, JudgeFile, check=check)
    scorer = build(filled[0])
    return [_named(filled[0], scorer, file.judge)] if scorer.judging() is not None else []


def _named(spec: ScorerSpec, scorer: Scorer, config: JudgeConfig) -> Named:
    digest = judge_digest(scorer, config.identity())
    if digest is None:
        raise InputError(f"the scorer {spec.name!r} asks no judge")
    return Named(spec.metric, spec, scorer, config, digest)
