"""`gateway simulate fit`: an engine profile out of a real engine's metrics, and how well it fits.

What asks, fits and prints is here for `gateway costs calibrate` too: one fit, for the simulator and for costs.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import click
from rich.progress import Progress

from gateway.cli.common import writing
from gateway.cli.tables import console, row, table
from gateway.contracts import documents
from gateway.contracts.commands import Number
from gateway.contracts.documents import Secret
from gateway.contracts.errors import InputError
from gateway.control_plane.calibration import Driver, Grid, watch
from gateway.control_plane.probes import ProbeFailed
from gateway.control_plane.registration import ask_facts
from gateway.settings.profile import EngineProfile, save
from gateway.simulation.fit import Check, Fit, Window, checks, fit, passing, quality, ttft_error
from gateway.simulation.pages import read_page, read_pages
from gateway.upstreams.vllm import Replica

CONNECT_S, FACTS_S = 5.0, 10.0
EACH = {
    "base_s": "step",
    "prefill_token_s": "prompt token",
    "sequence_s": "sequence",
    "context_token_s": "context token",
}
Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.option("--watch", "watch_s", type=Number(min=1), help="Ask nothing, look for so many seconds."),
    click.option("--every", "every_s", type=Number(min=0.1), default=1.0, show_default=True, help="Between looks."),
    click.option("--pages", "pages_path", type=_FILE, help="Looks that were saved."),
    click.option("--save", "save_path", type=_FILE, help="Save the looks of --watch."),
    click.option("--model", help="The model's name there.  [default: the first that the engine serves]"),
    click.option("--prompt-tokens", "prompts", type=click.IntRange(1), multiple=True, help="Repeatable."),
    click.option("--answer-tokens", "answers", type=click.IntRange(1), multiple=True, help="Repeatable."),
    click.option("--requests", type=click.IntRange(1), multiple=True, help="Requests at once; repeatable."),
    click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="The fastest counts."),
    click.option(
        "--max-num-seqs", type=click.IntRange(1), default=256, show_default=True, help="As the engine was started."
    ),
    click.option(
        "--max-num-batched-tokens",
        type=click.IntRange(1),
        default=8192,
        show_default=True,
        help="The engine's flag of that name: its page does not tell it.",
    ),
    click.option("--gpus", type=click.IntRange(1), default=1, show_default=True, help="GPUs of one replica."),
    click.option("--upstream-key-env", "key_env", metavar="NAME", help="The variable that holds the engine's API key."),
)


class Looks(NamedTuple):
    """Where the windows come from: an engine that is asked or watched, or pages that were saved."""

    url: str | None
    pages_path: Path | None
    watch_s: float | None
    every_s: float
    save_path: Path | None
    model: str | None
    prompts: tuple[int, ...]
    answers: tuple[int, ...]
    requests: tuple[int, ...]
    repeats: int
    key_env: str | None


class Found(NamedTuple):
    """The windows, what the KV cache holds, where both come from, whose they are, and the pages of a watch."""

    windows: list[Window]
    kv_tokens: int
    source: str
    model: str | None
    pages: str = ""


class Fitted(NamedTuple):
    """A profile, the fit behind it, and each burst beside what the profile makes of it."""

    profile: EngineProfile
    fit: Fit
    checks: list[Check]


def looking_options(command: Command) -> Command:
    """The options of `Looks`, but for the engine's URL, and what an engine does not tell of itself."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("fit")
@click.option("--url", metavar="URL", help="A running engine that nobody else uses: it is asked some hundred requests.")
@click.option("--out", "out_path", type=_FILE, help="Write the profile there.")
@click.option("--name", default="fitted", show_default=True, help="What the profile is called.")
@looking_options
def fit_command(
    out_path: Path | None, name: str, max_num_seqs: int, max_num_batched_tokens: int, gpus: int, **looks: Any
) -> None:
    """Fit the simulator's engine to a real one, and say how well it fits.

    With --url alone a grid of small loads is driven: minutes on a GPU. With --watch nothing is asked and the load must
    come from elsewhere, unlike enough to tell the terms apart.

    \b
    Examples:
      gateway simulate fit --url http://10.0.0.7:8000 --out h100.yaml
      gateway simulate fit --url http://10.0.0.7:8000 --watch 600 --save pages.txt --out h100.yaml
      gateway simulate fit --pages pages.txt --out h100.yaml
    """
    check_writable(out_path, "--out")
    sizes = {"max_num_seqs": max_num_seqs, "max_num_batched_tokens": max_num_batched_tokens, "gpus": gpus}
    fitted = fitted_to(look(Looks(**looks), "--url URL"), name=name, **sizes)
    show(fitted)
    if out_path is not None:
        save(fitted.profile, out_path)
        click.echo(f"{out_path}: use it with `gateway simulate --engine {out_path}`")


def look(looks: Looks, engine: str) -> Found:
    """Ask or watch an engine, or read what was saved; `engine` is how it is named. Raises InputError, UsageError."""
    if (looks.url is None) == (looks.pages_path is None):
        raise click.UsageError(f"name one of {engine} and --pages FILE")
    if looks.save_path is not None and looks.watch_s is None:
        raise click.UsageError("--save keeps the looks of --watch SECONDS")
    if looks.pages_path is not None:
        text = documents.read_text(looks.pages_path)
        return _of_pages(text, f"fitted to {looks.pages_path.name}", looks.model)
    key = None if looks.key_env is None else Secret(env=looks.key_env).read()
    check_writable(looks.save_path, "--save")
    found = asyncio.run(_ask(_replica(str(looks.url), key, engine), looks))
    if looks.save_path is not None:
        with writing(looks.save_path, "--save"):
            looks.save_path.write_text(found.pages, encoding="utf-8")
    return found


def check_writable(path: Path | None, option: str) -> None:
    """Raise InputError for a file that cannot be written: told now, it costs no minutes of a GPU."""
    if path is None:
        return
    new = not path.exists()
    with writing(path, option):
        path.open("ab").close()
        if new:
            path.unlink()


def fitted_to(found: Found, **fields: Any) -> Fitted:
    """The profile that fits, with what else is known of the engine as `fields`. Raises InputError."""
    if not found.kv_tokens:
        raise InputError("the engine does not say how large its KV cache is (vllm:cache_config_info)")
    fitted = fit(found.windows)
    profile = EngineProfile(
        source=found.source,
        kv_tokens=found.kv_tokens,
        model=found.model,
        fitted_at=datetime.now(UTC).replace(microsecond=0),
        step=fitted.step,
        **fields,
    )
    held = checks(profile, found.windows)
    return Fitted(profile.model_copy(update={"fit": quality(fitted, ttft_error(held))}), fitted, held)


def show(fitted: Fitted) -> None:
    """Print the terms, the bursts, and how well they fit."""
    lines = table("term", "for each", "microseconds", "share of the time", "mean error without it")
    for term in fitted.fit.terms:
        microseconds = f"{term.seconds * 1e6:,.4g}"
        row(lines, term.name, EACH[term.name], microseconds, f"{term.share:.1%}", f"{term.error_without:.1%}")
    console().print(lines)
    if fitted.checks:
        console().print(_bursts(fitted.checks))
    click.echo(
        f"{fitted.fit.windows} windows: R² {fitted.fit.r2:.3f}, and {fitted.fit.cross_validated_r2:.3f} where each is "
        f"told by a fit to the others; the time of a step to within {fitted.fit.mean_error:.1%} on average"
    )
    if fitted.profile.fit is not None and fitted.profile.fit.ttft_error is not None:
        click.echo(
            f"the TTFT of the bursts, to which nothing was fitted, to within {fitted.profile.fit.ttft_error:.1%}"
        )


def _replica(url: str, key: str | None, engine: str) -> Replica:
    try:
        documents.http_url(url, "http://10.0.0.7:8000")
    except ValueError as error:
        raise InputError(f"{engine.split()[0]}: {error}") from error
    return Replica("engine", url.rstrip("/"), api_key=key, connect_s=CONNECT_S)


def _of_pages(text: str, source: str, model: str | None) -> Found:
    pages = read_pages(text)
    return Found(passing(pages), pages[-1].kv_tokens, source, model, text)


async def _ask(replica: Replica, looks: Looks) -> Found:
    """Look at an engine, or drive it."""
    try:
        facts = await ask_facts(replica, FACTS_S)
    except ProbeFailed as error:
        raise InputError(f"{replica.url}: {error}") from error
    served = looks.model or next(iter(facts.models), None)
    if served is None:
        raise InputError(f"{replica.url} does not tell what it serves: name a model with --model")
    driver = Driver(replica, served, Random(), time.monotonic)  # noqa: S311 (prompts, not secrets)
    source = f"fitted to {served} on vLLM {facts.version or 'of unknown version'}"
    with Progress(console=console(), transient=True) as progress:
        if looks.watch_s is not None:
            task = progress.add_task("looking", total=looks.watch_s)
            text = await watch(driver, looks.watch_s, looks.every_s, lambda done: progress.update(task, completed=done))
            return _of_pages(text, f"{source}, watched", served)
        task = progress.add_task("asking", total=None)
        grid = Grid(
            looks.prompts or Grid.prompts, looks.answers or Grid.answers, looks.requests or Grid.requests, looks.repeats
        )
        windows = await driver.calibrate(
            grid, facts.max_model_len, lambda done, of: progress.update(task, completed=done, total=of)
        )
        at, page = await driver.page()
    return Found(windows, read_page(page, at).kv_tokens, f"{source}, {len(windows)} bursts", served)


def _bursts(held: list[Check]) -> object:
    lines = table("requests", "tokens in", "out", "step ms", "fitted", "TTFT ms", "simulated", "ITL ms", "simulated")
    for each in held:
        sizes = (each.burst.requests, each.burst.input_tokens, each.burst.output_tokens)
        times = (each.step_s, each.fitted_step_s, each.ttft_s, each.simulated_ttft_s, each.itl_s, each.simulated_itl_s)
        row(lines, *map(str, sizes), *("" if value is None else f"{value * 1e3:.2f}" for value in times))
    return lines
