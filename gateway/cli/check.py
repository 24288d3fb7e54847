"""`gateway check`: validate a configuration and show what it resolves to."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.progress import Progress

from gateway import changes
from gateway import config as configuration
from gateway.cli.common import YEARS, Day
from gateway.config import Deployment
from gateway.contracts import documents
from gateway.contracts.errors import DocumentError, Mistake
from gateway.costs.fleet import unpriced
from gateway.policy.gating import by_digest, judge
from gateway.policy.rule_cases import Example
from gateway.policy.rule_proof import HOUR_S, Dead, Proof, prove, steps
from gateway.policy.rules import Rulebook
from gateway.stores.verdicts import read_verdicts

CHANGES = 3
"""Not 1, a mistake in the file, nor 2, a mistake in the command."""
RULE_HOURS = 2 * 366 * 24
"""For so long rules are tried: two years, a leap day included."""
FIRST, LAST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (YEARS[0], YEARS[-1] - 2))
"""From when to when two years can begin of which time zones and holidays can be told."""
VALUES = 8
"""Of the values that a member was tried with, so many are printed."""


@click.command()
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--against", "against_path", metavar="OTHER", type=click.Path(path_type=Path, dir_okay=False),
    help="Print what would change in a gateway that runs with OTHER.",
)  # fmt: skip
@click.option("--exit-code", is_flag=True, help=f"With --against: exit with {CHANGES} when something would change.")
@click.option(
    "--rules-from", type=Day(), metavar="DATE", help="First of the two years in which rules are tried.  [default: now]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    config_path: Path, against_path: Path | None, exit_code: bool, rules_from: float | None, as_json: bool
) -> None:
    """Validate CONFIG and everything it names, and print what it resolves to.

    Rules are tried in every hour of two years in every region. One that cannot be evaluated in some case is a mistake;
    one that never wins, or in no case that was tried, and two that hold at once, are told as warnings.

    Exit code 0 when it is valid, 1 with every mistake and its line when it is not.

    \b
    Examples:
      gateway check gateway.yaml
      gateway check gateway.yaml --against deployed.yaml
      gateway check gateway.yaml --json --rules-from 2027-01-01
    """
    if exit_code and against_path is None:
        raise click.UsageError("--exit-code says whether something changes: name --against OTHER too")
    if rules_from is not None and not FIRST <= rules_from <= LAST:
        days = [_moment(each)[:10] for each in (FIRST, LAST, rules_from)]
        raise click.UsageError(f"--rules-from: expected a date from {days[0]} to {days[1]}, found {days[2]}")
    deployment = configuration.load(config_path, trust=True)
    deployment.prices.cover(time.time())
    since = (time.time() if rules_from is None else rules_from) // HOUR_S * HOUR_S
    proofs = _proved(deployment, since)
    if against_path is None:
        _show(deployment, as_json, _rules(proofs, since))
    for warning in (*unpriced(deployment.config), *_warnings(proofs)):
        click.echo(f"# warning: {warning}", err=True)
    _refuse(config_path, proofs)
    if against_path is None:
        if not as_json:
            click.echo(f"# {config_path} is valid", err=True)
        return
    # The keys of what runs may be gone by now: what it resolves to can be told without them.
    other = configuration.load(against_path)
    found = changes.compare(other, deployment)
    if as_json:
        digests = {"against_digest": changes.digest(other), "config_digest": changes.digest(deployment)}
        click.echo(json.dumps({**digests, "changes": [change.as_json() for change in found]}, indent=2))
    else:
        click.echo("".join(f"{change}\n" for change in found), nl=False)
        click.echo(f"# {config_path} is valid; changes against {against_path}: {len(found)}", err=True)
    if found and exit_code:
        sys.exit(CHANGES)


def _proved(deployment: Deployment, since: float) -> dict[str, Proof]:
    rulebook = Rulebook(deployment.config)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("trying the rules", total=steps(rulebook))
        return prove(rulebook, since, since + RULE_HOURS * HOUR_S, lambda: progress.advance(task))


def _rules(proofs: Mapping[str, Proof], since: float) -> dict[str, Any]:
    """The proofs as JSON has them."""
    out = {}
    for model, proof in proofs.items():
        tried = proof.samples
        out[model] = {
            "grid": {
                "from": _moment(since),
                "until": _moment(since + RULE_HOURS * HOUR_S),
                "moments": proof.moments,
                "moments_that_differ": proof.distinct,
                "minutes_left_out": proof.left_out,
                "requests": len(tried.requests),
                "combinations": tried.of,
                "values": {
                    name: [*values[:VALUES], *([f"… {len(values) - VALUES} more"] if len(values) > VALUES else [])]
                    for name, values in tried.tried.items()
                },
            },
            "wins": proof.wins,
            "dead": [
                {"rule": each.rule, "behind": list(each.behind), "hint": each.hint, "proven": each.proven}
                for each in proof.dead
            ],
            "overlapping_pairs": proof.pairs,
            "overlaps": [
                {"winner": each.winner, "other": each.other, "example": _example(each.example)}
                for each in proof.overlaps
            ],
            "errors": [
                {"rule": each.rule, "error": each.message, "example": _example(each.example)} for each in proof.failures
            ],
        }
    return out


def _example(example: Example) -> dict[str, Any]:
    return {"at": _moment(example.at), "region": example.region, "request": dict(example.request)}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _told(example: Example) -> str:
    asked = ", ".join(f"{name}={value!r}" for name, value in example.request.items())
    return f"at {_moment(example.at)} in {example.region}" + (f" with {asked}" if asked else "")


def _warnings(proofs: Mapping[str, Proof]) -> Iterator[str]:
    for model, proof in proofs.items():
        tried = proof.samples
        if not tried.whole:
            counts = f"{len(tried.requests)} of {tried.of} combinations of values were tried"
            yield f"{model}: {counts}: a rule that won with none of them may win with another"
        if proof.left_out:
            yield f"{model}: {proof.left_out} minutes of an hour were not tried: a rule may win in one of them"
        for dead in proof.dead:
            yield f"{model}: the rule {dead.rule!r} {_lost(dead)}"
        for each in proof.overlaps:
            yield f"{model}: {each.winner!r} wins over {each.other!r}, which holds too, {_told(each.example)}"
        if more := proof.pairs - len(proof.overlaps):
            yield f"{model}: {more} more pairs of rules hold at once"


def _lost(dead: Dead) -> str:
    """That a rule never wins, where this is proven; else what was seen, and where to ask further."""
    if dead.hint is not None:
        return f"never wins: {dead.hint}"
    behind = f"where it holds, these win: {', '.join(dead.behind)}" if dead.behind else "it never holds"
    if dead.proven:
        return f"never wins: {behind}"
    seen = f"where it held, these won: {', '.join(dead.behind)}" if dead.behind else "it held in none of them"
    return f"won in none of the cases that were tried ({seen}): ask `gateway explain` about one that it is for"


def _refuse(config_path: Path, proofs: Mapping[str, Proof]) -> None:
    """Raises DocumentError for rules that could not be evaluated in some case."""
    found = {
        ("models", model, "rules", each.place, "when"): each for model in proofs for each in proofs[model].failures
    }
    if not found:
        return
    _, lines = documents.parse(documents.read_text(config_path), str(config_path))
    mistakes = [
        Mistake(lines[at], ".".join(map(str, at)), f"cannot be evaluated {_told(each.example)}: {each.message}")
        for at, each in found.items()
    ]
    raise DocumentError(str(config_path), sorted(mistakes, key=lambda mistake: mistake.line))


def _show(deployment: Deployment, as_json: bool, rules: dict[str, Any]) -> None:
    resolved = {
        "config_digest": changes.digest(deployment),
        "config": deployment.config.model_dump(mode="json", by_alias=True),
        "releases": _releases(deployment),
        "prices": {"version": deployment.prices.version, "currency": deployment.prices.currency},
        "rules": rules,
    }
    if as_json:
        click.echo(json.dumps(resolved, indent=2))
    else:
        click.echo(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), nl=False)


def _releases(deployment: Deployment) -> dict[str, dict[str, Any]]:
    enforcement = deployment.config.enforcement
    verdicts, problems = ([], []) if enforcement.mode == "off" else read_verdicts(
        enforcement.verdicts, enforcement.trusted_keys
    )  # fmt: skip
    about, now = by_digest(verdicts), datetime.fromtimestamp(time.time(), UTC)
    out = {}
    for release in deployment.releases.values():
        gate = judge(release.name, release.digest, about.get(release.digest, ()), problems, now)
        out[release.name] = {"digest": release.digest, "pool": release.pool, "verdict": gate.answer or "none"}
    return out
