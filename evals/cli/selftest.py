"""`evals selftest`: how often a gate is wrong."""

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop
from rich.markup import escape
from rich.table import Table

from evals import judge_floor, run_log
from evals.cli import tables
from evals.cli.common import DEFAULT_KEY, Broken, GateCommand, api_key, console
from evals.cli.progress import Repetitions, RunProgress, told_by
from evals.composition import Plan, Target, harness, suite_from
from evals.evidence import Evidence, arm_as, gather
from evals.gate_config import GateConfig, load_gate
from evals.runner import Run
from evals.selftest import drawing
from evals.selftest.live import Setup, repeated
from evals.selftest.offline import Offline
from evals.selftest.tally import ANSWERS, Row, Tally

_FILE = click.Path(path_type=Path, dir_okay=False)
OFFLINE, LIVE = 200, 20
"""Repetitions where nothing else is said."""
_NO_FLAGS = {"epochs": None, "concurrency": None}
_MEANING = {
    "false pass": "passes a regression of the size it must not pass",
    "false fail": "fails a release that is equal",
    "little power": "passes a release that is equal less often than its design says",
}


@click.command("selftest", cls=GateCommand)
@click.argument("gate_file", metavar="GATE", type=_FILE)
@click.option("--run", type=_FILE, help="A log of A against A: two arms of one release, or several epochs.")
@click.option("--baseline", type=_FILE, help="A second log of the same release, where --run has one arm.")
@click.option("--suite", type=_FILE, help="Ask a model anew for every repetition: this suite, of --model.")
@click.option("--model", help="With --suite: the release under test, by its pinned name (faq@1).")
@click.option("--broken", help="With --suite: plant regressions with this model's answers, not with swapped ones.")
@click.option("--base-url", default="http://127.0.0.1:8080/v1", show_default=True, help="Where the gateway listens.")
@click.option("--api-key-env", default=DEFAULT_KEY, show_default=True, help="Variable that holds the virtual key.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Logs of --suite  [runs/selftest-GATE].")
@click.option("--repeats", type=click.IntRange(min=2), help=f"Repetitions  [{OFFLINE}; {LIVE} with --suite].")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def selftest(gate_file: Path, repeats: int | None, seed: int, quiet: bool, as_json: bool, **flags: Any) -> None:
    """Tell how often a gate is wrong on its data set: A against A, and a planted regression, many times over.

    With --run nothing is asked: samples are drawn anew from a log, by cluster, and arms are swapped by a coin. With
    --suite every repetition asks the model for fresh answers in both arms. A regression is exactly as large as the
    condition allows at most, so that it may pass no more often than alpha.

    Exit code 0: as often wrong as designed; 1: more often; 2: too weak to pass what is equal; 3: broken input, or
    stopped before it could tell.

    \b
    Examples:
      evals selftest gate.yaml --run runs/faq-1-beside-1.jsonl
      evals selftest gate.yaml --run runs/monday.jsonl --baseline runs/tuesday.jsonl --repeats 1000
      evals selftest gate.yaml --suite suite.yaml --model faq@1 --repeats 20
    """
    gate = load_gate(gate_file)
    cards = judge_floor.load_cards(gate, gate_file.parent)
    if (flags["run"] is None) == (flags["suite"] is None):
        raise click.UsageError("give either --run LOG, or --suite FILE with --model")
    if flags["run"] is not None:
        tally, notes = _offline(gate, cards, repeats or OFFLINE, seed, quiet, flags)
    else:
        tally, notes = _live(gate, cards, repeats or LIVE, seed, quiet, flags)
    if as_json:
        click.echo(msgspec.json.encode(as_values(tally, seed, notes)))
    else:
        _print(tally, notes)
    raise click.exceptions.Exit(tally.exit_code())


def _offline(
    gate: GateConfig, cards: Mapping[str, Any], repeats: int, seed: int, quiet: bool, flags: dict[str, Any]
) -> tuple[Tally, tuple[str, ...]]:
    candidate, baseline = arms(flags["run"], flags["baseline"], gate)
    test = Offline(gate, candidate, baseline, now=datetime.now(UTC), harness=harness(), cards=cards)
    rng = random.Random(seed)  # noqa: S311 - a simulation, no secret
    with Repetitions(repeats, time.monotonic, quiet=quiet) as progress:
        tally = test.repeat(repeats, rng, progress)
    samples, clusters = test.shape
    notes = [f"drawn from {samples} samples in {clusters} clusters, seed {seed}"]
    notes += [f"{name}: left out, it is not about chance" for name in test.left_out]
    notes += [f"{label}: no regression of a known size can be planted" for label in test.unplanted]
    if baseline is not None and baseline.release_digest != candidate.release_digest:
        notes.append("the arms are two releases: what differs between them counts as noise")
    return tally, tuple(notes)


def arms(run: Path, baseline: Path | None, gate: GateConfig) -> tuple[Evidence, Evidence | None]:
    """Two arms of one release out of a log, or of two. Raises InputError where there is but one."""
    log = run_log.read(run)
    if baseline is not None:
        other = run_log.read(baseline)
        return gather(log), gather(other, arm_as(other, "baseline"))
    if log.manifest.baseline is not None:
        return gather(log), gather(log, "baseline")
    return drawing.halves(gather(log)) if gate.needs_baseline else (gather(log), None)


def _live(
    gate: GateConfig, cards: Mapping[str, Any], repeats: int, seed: int, quiet: bool, flags: dict[str, Any]
) -> tuple[Tally, tuple[str, ...]]:
    if not flags["model"]:
        raise click.UsageError("--suite needs --model: the release that stands in both arms")
    if flags["baseline"] is not None:
        raise click.UsageError("--baseline belongs to --run: with --suite the model is its own baseline")
    suite, data = suite_from(flags["suite"], dict(_NO_FLAGS))
    target = Target(flags["base_url"], flags["model"], api_key(flags["api_key_env"]))
    screen = console(stderr=True)

    def say(text: str) -> None:
        if not quiet:
            screen.print(text, markup=False)

    def progress(run: Run, left: int) -> RunProgress:
        return RunProgress(left, time.monotonic, told_by(run), quiet=quiet)

    now, folder = datetime.now(UTC), flags["out"] or Path("runs") / f"selftest-{gate.gate}"
    plan = Plan(suite, data, flags["suite"].parent, target, now)
    setup = Setup(gate, plan, folder, seed, say, progress, now, cards, flags["broken"])
    try:
        tally = uvloop.run(repeated(setup, repeats))
    except KeyboardInterrupt:
        raise Broken(f"stopped; the same command goes on with the logs in {str(folder)!r}") from None
    planted = f"answers of {flags['broken']}" if flags["broken"] else "answers to other samples"
    return tally, (f"fresh answers of {flags['model']} in both arms, {len(data.samples)} samples; planted: {planted}",)


def as_values(tally: Tally, seed: int, notes: tuple[str, ...]) -> dict[str, Any]:
    """A self-test as JSON values."""
    return {
        "gate": tally.gate.gate,
        "gate_digest": tally.gate.digest(),
        "seed": seed,
        "exit_code": tally.exit_code(),
        "flips": tally.flips(),
        "noise": {label: msgspec.to_builtins(spread) for label, spread in tally.noise.items()},
        "notes": notes,
        "rows": [_row_values(row) for row in tally.rows()],
    }


def _row_values(row: Row) -> dict[str, Any]:
    return {
        "truth": row.truth,
        "drop": row.drop,
        "condition": row.condition,
        "test": row.test,
        "repetitions": row.repetitions,
        "counts": {answer: row.counts[answer] for answer in ANSWERS},
        "intervals": {answer: row.interval(answer) for answer in ANSWERS},
        "limits": {"most_pass": row.most_pass, "least_pass": row.least_pass, "most_fail": row.most_fail},
        "finding": row.finding() or None,
        "reasons": dict(row.reasons.most_common(3)),
    }


def table_of(tally: Tally) -> Table:
    """One row for each truth and condition; rates with Clopper and Pearson's 95 % intervals."""
    made = tables.table("truth", "condition", ">n", ">pass", ">fail", ">inconclusive", ">invalid", "may be", "found")
    for row in tally.rows():
        truth = "A against A" if row.truth == "equal" else f"worse by {row.drop:.4g}"
        condition = escape(f"{row.condition} ({row.test})" if row.test else row.condition)
        rates = [
            _rate(row, "pass"),
            _rate(row, "fail"),
            f"{row.rate('inconclusive'):.3f}",
            f"{row.rate('invalid'):.3f}",
        ]
        found = row.finding()
        told = f"[red]{found}[/]" if found else "[green]as designed[/]" if limits(row) else ""
        made.add_row(truth, condition, str(row.repetitions), *rates, limits(row), told)
    return made


def _rate(row: Row, answer: str) -> str:
    low, high = row.interval(answer) or (0.0, 1.0)
    return escape(f"{row.rate(answer):.3f} [{low:.3f}, {high:.3f}]")


def limits(row: Row) -> str:
    """What a row's rates may be, in words."""
    known = (("pass ≤", row.most_pass), ("pass ≥", row.least_pass), ("fail ≤", row.most_fail))
    return ", ".join(f"{word} {limit:g}" for word, limit in known if limit is not None)


def _print(tally: Tally, notes: tuple[str, ...]) -> None:
    screen = console()
    screen.print(table_of(tally))
    flips = tally.flips()
    alpha = tally.gate.design.alpha
    screen.print(
        f"A against A: fails {flips['fail']:.3f} of the time; two repetitions contradict each other (pass, fail) "
        f"{flips['contradict']:.3f} of the time, at most {2 * alpha:g} is designed for one condition; they differ at "
        f"all {flips['differ']:.3f} of the time",
        markup=False,
        soft_wrap=True,
    )
    for note in (*notes, *_noise(tally), *_advice(tally)):
        screen.print(note, markup=False, soft_wrap=True)


def _noise(tally: Tally) -> list[str]:
    planned = {metric.label: metric for metric in tally.gate.metrics if metric.test == "noninferior"}
    return [
        f"{label}: the arms show sd {spread.sd:.4f} and design effect {spread.design_effect:.2f}; the gate plans with "
        f"{planned[label].planned_sd or 'none'} and {planned[label].planned_design_effect:g}"
        for label, spread in tally.noise.items()
    ]


def _advice(tally: Tally) -> list[str]:
    told = []
    for row in tally.rows():
        if found := row.finding():
            (why, _), *_ = row.reasons.most_common(1) or [("it passed", 0)]
            told.append(f"{row.condition} {_MEANING[found]}: {_DO[found]} (most often: {why})")
    return told


_DO = {
    "false pass": "samples that depend on each other must share a cluster; check the clusters of the data set",
    "false fail": "the two arms were not equal, or the engine drifts between them; run both arms side by side",
    "little power": "take more samples, more epochs or a wider margin; `evals plan` tells how many",
}
