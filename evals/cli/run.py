"""`evals run`: one suite against one model, into one log."""

import asyncio
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from evals import compare, dataset, run_log, scorers
from evals.cli import tables
from evals.cli.common import BROKEN, Command, Interrupted, console
from evals.cli.progress import RunProgress
from evals.client import Client
from evals.config import ScorerSpec, SuiteConfig, load_suite
from evals.evidence import Evidence, gather
from evals.lines import Manifest
from evals.runner import Request, Run, total
from gateway.contracts.errors import InputError

DEFAULT_KEY = "TOLLGATE_API_KEY"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_REACH_TIMEOUT_S = 10.0


def harness() -> str:
    """Name and version of this harness, for manifests and verdicts."""
    return f"tollgate-evals {metadata.version('tollgate')}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send requests, and how many."""

    base_url: str
    model: str
    api_key: str | None
    limit: int | None
    deadline_s: float | None


def suite_from(suite: Path | None, flags: dict[str, Any]) -> tuple[SuiteConfig, dataset.Dataset]:
    """The suite of a file, or one made of flags, with its data set. Raises InputError."""
    if suite is not None:
        config = load_suite(suite, scorers.build)
        data = dataset.load(suite.parent / config.dataset)
    else:
        path = Path(flags["dataset"])
        data = dataset.load(path)
        params = {"temperature": flags["temperature"], "max_tokens": flags["max_tokens"]}
        specs = tuple(ScorerSpec(name=name) for name in dict.fromkeys(flags["scorer"] or ("exact",)))
        config = SuiteConfig(
            suite=_safe(path.stem),
            dataset=str(path),
            params={key: value for key, value in params.items() if value is not None},
            scorers=specs,
        )
        _check_scorers(specs)
    if config.dataset_sha256 not in (None, data.digest):
        raise InputError(f"{str(data.path)!r} is {data.digest}, and the suite says {config.dataset_sha256}: other data")
    changed = {key: flags[key] for key in ("concurrency", "epochs") if flags[key] is not None}
    return SuiteConfig.model_validate(config.model_dump(by_alias=True, exclude_none=True) | changed), data


def _check_scorers(specs: tuple[ScorerSpec, ...]) -> None:
    for spec in specs:
        try:
            scorers.build(spec)
        except ValueError as error:
            raise InputError(f"--scorer: {error}; options need a suite file") from error


def _safe(text: str) -> str:
    return _UNSAFE.sub("-", text).strip("-._")[:64] or "suite"


def manifest_of(suite: SuiteConfig, data: dataset.Dataset, target: Target, created: datetime) -> Manifest:
    """The first line of the run's log."""
    return Manifest(
        suite=suite.suite,
        suite_digest=suite.digest(data.digest),
        dataset=data.path.name,
        dataset_sha256=data.digest,
        samples=len(data.samples),
        epochs=suite.epochs,
        model=target.model,
        params=suite.params,
        system=suite.system,
        scorers=suite.scorer_dicts(),
        limit=target.limit if target.limit is not None and target.limit < len(data.samples) else None,
        base_url=target.base_url,
        harness=harness(),
        created=created.isoformat(timespec="seconds"),
    )


def log_path(out: Path | None, suite: str, model: str, fresh: bool) -> Path:
    """Where the log goes; with `fresh`, a name that is still free. Nothing is ever overwritten."""
    path = out or Path("runs") / f"{suite}-{_safe(model)}.jsonl"
    if not fresh or not path.exists():
        return path
    number = 2
    while (candidate := path.with_stem(f"{path.stem}-{number}")).exists():
        number += 1
    return candidate


async def execute(
    suite: SuiteConfig, data: dataset.Dataset, target: Target, writer: run_log.Writer, say: Callable[[str], None]
) -> None:
    """Run what the log does not have yet, then seal it."""
    request = Request(
        model=target.model,
        params=suite.params,
        system=suite.system,
        epochs=suite.epochs,
        concurrency=suite.concurrency,
        max_retries=suite.max_retries,
        timeout_s=suite.timeout_s,
        deadline_s=target.deadline_s,
        limit=target.limit,
    )
    client = Client(target.base_url, target.api_key, connections=suite.concurrency, clock=time.perf_counter)
    rng = random.Random(0)  # noqa: S311 - jitter, no secret
    run = Run(data, request, scorers.build_all(suite.scorers), client, writer, time.monotonic, asyncio.sleep, rng)
    left = sum(1 for _ in run.todo())
    if writer.existing:
        say(f"resuming {str(writer.path)!r}: {left} of {total(data, request)} results left (--fresh: a new file)")
    if left:
        async with client:
            await client.reach(_REACH_TIMEOUT_S)
            with RunProgress(left, time.monotonic) as progress:
                run.on_record = progress
                await run.execute()
    writer.seal()


def summary(evidence: Evidence) -> dict[str, Any]:
    """A run as JSON values."""
    measures = measure_all(evidence)
    counts = compare.account(evidence)
    return {
        "log": str(evidence.log.path),
        "suite": evidence.log.manifest.suite,
        "model": evidence.log.manifest.model,
        "release": evidence.release,
        "release_digest": evidence.release_digest,
        "dataset_sha256": evidence.log.manifest.dataset_sha256,
        "coverage": evidence.coverage,
        "problems": list(evidence.problems),
        "metrics": {
            name: {
                "mean": m.estimate,
                "lower": m.lower,
                "upper": m.upper,
                "samples": m.samples,
                "clusters": m.clusters,
                "missing": m.missing_candidate,
            }
            for name, m in measures.items()
        },
        **msgspec.to_builtins(counts),
        "cost": None if counts.cost is None else f"{counts.cost:f}",
    }


def measure_all(evidence: Evidence) -> dict[str, compare.Measure]:
    """Every metric of a run with its 95 % interval (two one-sided bounds at 97.5 %)."""
    found = {name: compare.absolute(evidence, name, alpha=0.025) for name in evidence.log.manifest.metrics()}
    return {name: measure for name, measure in found.items() if measure is not None}


def _api_key(variable: str) -> str | None:
    value = os.environ.get(variable) or None
    if value is None and variable != DEFAULT_KEY:
        raise InputError(f"--api-key-env: the variable {variable!r} is not set: export it, or leave the flag out")
    return value


def _forget_empty(path: Path) -> None:
    """Remove a log that holds its manifest and nothing else: it would stand in a later run's way."""
    if path.exists() and path.read_bytes().count(b"\n") <= 1:
        path.unlink()


@click.command("run", cls=Command)
@click.argument("suite", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--base-url", default="http://127.0.0.1:8080/v1", show_default=True, help="Where the gateway listens.")
@click.option("--model", required=True, help="The model, or one release of it by its pinned name (faq@2).")
@click.option("--api-key-env", default=DEFAULT_KEY, show_default=True, help="Variable that holds the virtual key.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The log  [runs/SUITE-MODEL.jsonl].")
@click.option("--fresh", is_flag=True, help="Start over in a new file beside an existing log.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many samples; a gate refuses such a run.")
@click.option("--deadline", type=click.FloatRange(min=0, min_open=True), help="Seconds for the whole run.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--dataset", type=click.Path(dir_okay=False), help="Without a suite file: the data set (JSON Lines).")
@click.option("--scorer", multiple=True, help="Without a suite file: a scorer, may be repeated  [exact].")
@click.option("--temperature", type=float, default=0.0, show_default=True, help="Without a suite file.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Without a suite file.")
@click.option("--epochs", type=click.IntRange(min=1), help="Ask every sample so many times.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Requests under way at a time.")
def run_suite(
    suite: Path | None,
    base_url: str,
    model: str,
    api_key_env: str,
    out: Path | None,
    fresh: bool,
    limit: int | None,
    deadline: float | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Send a suite's samples to a model, score the answers, keep everything in a log.

    A run that stopped goes on where it was when it is started again with the same --out. Exit code 0: complete; 3:
    evidence is missing.

    \b
    Examples:
      evals run suite.yaml --base-url http://127.0.0.1:8080/v1 --model faq@2
      evals run --dataset questions.jsonl --scorer exact --model my-model
    """
    if (suite is None) == (flags["dataset"] is None):
        raise click.UsageError("give either a suite file or --dataset FILE")
    config, data = suite_from(suite, flags)
    target = Target(base_url, model, _api_key(api_key_env), limit, deadline)
    path = log_path(out, config.suite, model, fresh)
    say = console(stderr=True)
    try:
        with run_log.Writer(path, manifest_of(config, data, target, datetime.now(UTC))) as writer:
            uvloop.run(execute(config, data, target, writer, lambda text: say.print(text, markup=False)))
    except InputError:
        _forget_empty(path)
        raise
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; the same command goes on from {str(path)!r}") from None
    evidence = gather(run_log.read(path))
    if as_json:
        click.echo(msgspec.json.encode(summary(evidence)))
    else:
        _print(evidence)
    if any(unit.missing for unit in evidence.units.values()):
        raise click.exceptions.Exit(BROKEN)


def _print(evidence: Evidence) -> None:
    screen = console()
    screen.print(tables.run_table(measure_all(evidence)))
    for line in tables.account_lines(compare.account(evidence)):
        screen.print(line, markup=False)
    if evidence.release:
        screen.print(f"release: {evidence.release} {evidence.release_digest}", markup=False, soft_wrap=True)
    for problem in evidence.problems:
        screen.print(f"note: {problem}", markup=False)
    if any(unit.missing for unit in evidence.units.values()):
        screen.print("evidence is missing: the same command asks for those samples again", markup=False)
    screen.print(f"log: {evidence.log.path}", markup=False, soft_wrap=True)
