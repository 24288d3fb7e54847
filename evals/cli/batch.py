"""`evals batch`: a suite as a file for `vllm run-batch` or OpenAI's batch API, and its results as a run log."""

import asyncio
import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from evals import run_log
from evals.cli.common import BROKEN, DEFAULT_KEY, Command, api_key, console
from evals.composition import JITTER_SEED, Plan, Target, request_of, suite_from
from evals.equipment import Outside
from evals.evidence import gather
from evals.exchange import answers, requests
from evals.exchange.answers import Files, Matched
from evals.summary import summary
from gateway.contracts import release
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)
_SHOWN = 5
_FLAGS = {"dataset": None, "concurrency": None}


@click.group("batch")
def batch() -> None:
    """Write a suite as a batch file, read its results into a run log.

    \b
    Examples:
      evals batch write suite.yaml --model faq --out batch.jsonl
      evals batch read suite.yaml batch.jsonl results.jsonl --out runs/faq.jsonl
    """


@batch.command("write", cls=Command)
@click.argument("suite", type=_FILE)
@click.option("--model", required=True, help="The model, as the batch engine calls it.")
@click.option("--baseline", help="Ask this one too; the file then holds both arms.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many samples; a gate refuses such a run.")
@click.option("--epochs", type=click.IntRange(min=1), help="Ask every sample so many times.")
@click.option("--out", type=_FILE, required=True, help="The batch file (JSON Lines).")
def write(suite: Path, model: str, baseline: str | None, limit: int | None, epochs: int | None, out: Path) -> None:
    """Write every request of a suite into a file.

    One line for each sample, epoch and arm, with the body that `evals run` would send. Nothing is sent.

    \b
    Examples:
      evals batch write suite.yaml --model faq --out batch.jsonl
      vllm run-batch -i batch.jsonl -o results.jsonl --model ./model --served-model-name faq
      evals batch read suite.yaml batch.jsonl results.jsonl --out runs/faq.jsonl
    """
    if baseline == model:
        raise click.UsageError("--baseline is --model: an arm needs a model of its own")
    config, data = suite_from(suite, {**_FLAGS, "epochs": epochs})
    if config.retrieval is not None:
        raise InputError("the suite retrieves passages, which go into the question: a batch cannot; use `evals run`")
    if out.resolve() in (suite.resolve(), data.path.resolve()):
        raise InputError(f"--out: {str(out)!r} is the suite or its data set: name another file")
    content = requests.written(data, request_of(config, Target("", model, limit=limit, baseline=baseline)))
    try:
        out.write_bytes(content)
    except OSError as error:
        raise InputError(f"--out: {str(out)!r} cannot be written: {error.strerror}") from error
    count = content.count(b"\n")
    click.echo(f"wrote {out}: {count:,} requests")


@batch.command("read", cls=Command)
@click.argument("suite", type=_FILE)
@click.argument("requests_file", metavar="BATCH", type=_FILE)
@click.argument("results", type=_FILE, nargs=-1, required=True)
@click.option("--out", type=_FILE, required=True, help="The log to write.")
@click.option("--force", is_flag=True, help="Write over a log that is there.")
@click.option("--release", "manifest", type=_FILE, help="Manifest of the release that you say was asked.")
@click.option("--answered-as", multiple=True, help="Another name that the answers may give the model; repeatable.")
@click.option("--epochs", type=click.IntRange(min=1), help="As it was written.")
@click.option("--base-url", default="http://127.0.0.1:8080/v1", show_default=True, help="Where judges are asked.")
@click.option("--api-key-env", default=DEFAULT_KEY, show_default=True, help="Variable that holds the virtual key.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def read(
    suite: Path,
    requests_file: Path,
    results: tuple[Path, ...],
    out: Path,
    force: bool,
    manifest: Path | None,
    answered_as: tuple[str, ...],
    epochs: int | None,
    base_url: str,
    api_key_env: str,
    as_json: bool,
) -> None:
    """Score the results of a batch and write them as a run log.

    BATCH has to be the file that `evals batch write` makes of this suite, byte for byte. A request without a result,
    with two, or with one that says that it is another model's, is missing evidence. Exit code 0: complete; 3: evidence
    is missing, or results belong to no request.

    \b
    Examples:
      evals batch read suite.yaml batch.jsonl results.jsonl --out runs/faq.jsonl
      evals batch read suite.yaml batch.jsonl output.jsonl errors.jsonl --out runs/faq.jsonl --release faq-2.yaml
    """
    run_log.check_free(out, force=force)
    config, data = suite_from(suite, {**_FLAGS, "epochs": epochs})
    claimed = release.load(manifest) if manifest is not None else None
    target = Target(base_url, "", api_key(api_key_env))
    plan = answers.targeted(Plan(config, data, suite.parent, target, datetime.now(UTC)), requests_file)
    rng = random.Random(JITTER_SEED)  # noqa: S311 - jitter, no secret
    say = console(stderr=True).print
    outside = Outside(base_url, target.api_key, os.environ, time.monotonic, asyncio.sleep, rng, say)
    files = Files(requests_file, results, out, claimed, answered_as)
    matched = uvloop.run(answers.read(plan, files, outside))
    _report(run_log.read(out), matched, as_json)


def _report(log: run_log.Log, matched: Matched, as_json: bool) -> None:
    """Print what was read. Raises Exit(3) when evidence is missing in any arm, or a result belongs to no request."""
    ours = gather(log)
    theirs = gather(log, "baseline") if log.manifest.baseline is not None else None
    odd: dict[str, tuple[str, ...]] = {
        "of no request": matched.unknown,
        "answered twice": matched.twice,
        "no result": matched.unreadable,
        "of another model": tuple(matched.foreign),
    }
    if as_json:
        told: dict[str, Any] = {**summary(ours, theirs), "odd": odd}
        click.echo(msgspec.json.encode(told))
    else:
        _print(log, odd)
    missing = any(unit.missing for run in (ours, theirs) if run is not None for unit in run.units.values())
    if missing or any(odd.values()):
        raise click.exceptions.Exit(BROKEN)


def _print(log: run_log.Log, odd: dict[str, tuple[str, ...]]) -> None:
    counts: dict[str, int] = {}
    for record in log.records:
        name = record.failure.kind if record.failure else record.outcome
        counts[name] = counts.get(name, 0) + 1
    click.echo("results: " + ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())))
    for what, names in odd.items():
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            click.echo(f"{what}: {', '.join(names[:_SHOWN])}{more}")
    click.echo(f"log: {log.path}")
