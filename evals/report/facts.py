"""What a report rests on: names and digests of everything that its figures depend on."""

import json
from collections.abc import Iterable, Mapping

from evals.decision import Decision
from evals.evidence import Evidence
from evals.lines import Manifest
from evals.report.texts import clean, ending
from evals.report.view import Fact
from evals.schema import Arm

_LONG = 600


def facts(runs: Mapping[Arm, Evidence], decision: Decision | None) -> tuple[Fact, ...]:
    """Names, values and digests, those of the verdict first. `decision` is None where no gate has spoken."""
    return tuple(Fact(one.name, clean(one.value), clean(one.exact)) for one in _all(runs, decision))


def _all(runs: Mapping[Arm, Evidence], decision: Decision | None) -> Iterable[Fact]:
    verdict = decision.verdict if decision else None
    if decision is not None:
        digest = verdict.predicate.gate.digest if verdict else ""
        yield Fact("Gate", decision.gate, digest)
    for arm, run in reversed(list(runs.items())):
        name = arm.capitalize()
        yield Fact(name, run.release or f"asked for as {run.log.manifest.asked(arm)}", run.release_digest or "")
        yield Fact(f"Run of the {arm}", run.name, run.log.digest)
        yield Fact(f"Engines of the {arm}", ", ".join(run.fingerprints) or "not told")
    manifest = runs["candidate"].log.manifest
    yield Fact("Suite", manifest.suite, manifest.suite_digest)
    of_split = f", split {manifest.split}" if manifest.split else ""
    yield Fact("Data set", f"{manifest.dataset}{of_split}, {manifest.samples:,} samples", manifest.dataset_sha256)
    for judge in verdict.predicate.judges if verdict else ():
        yield Fact("Judge's card", judge.name, judge.digest)
    for metric, digest in manifest.judges.items():
        yield Fact(f"Judge of {metric}", "model, prompt and parameters", digest)
    yield from _of_run(manifest, verdict.predicate.harness if verdict else manifest.harness)


def _of_run(manifest: Manifest, harness: str) -> Iterable[Fact]:
    epochs = f"{manifest.epochs} answers to each sample" if manifest.epochs > 1 else "1 answer to each sample"
    parameters = json.dumps(manifest.params, ensure_ascii=False)
    yield Fact("Request", f"{epochs}; parameters {ending(parameters, _LONG)}")
    yield Fact("System message", ending(manifest.system, _LONG) if manifest.system else "none from the suite")
    yield Fact("Run made", f"{manifest.created or 'not told'}, through {manifest.base_url or 'an address not told'}")
    yield Fact("Harness", harness or "not told")
    state = {True: ", with changes that are not committed", False: "", None: ""}[manifest.git_dirty]
    yield Fact("Git revision", f"{manifest.git_revision}{state}" if manifest.git_revision else "not told")
    if manifest.packages:
        yield Fact("Packages", ", ".join(f"{name} {version}" for name, version in sorted(manifest.packages.items())))
    if manifest.platform:
        yield Fact("Platform", manifest.platform)
    if manifest.seeds:
        yield Fact("Seeds", ", ".join(f"{name} {seed}" for name, seed in sorted(manifest.seeds.items())))
