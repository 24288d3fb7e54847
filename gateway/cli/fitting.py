"""`gateway simulate fit`: an engine profile out of a real engine's metrics, and how well it fits."""

import asyncio
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

import click
import yaml
from rich.progress import Progress

from gateway.cli.common import console, row, table
from gateway.contracts import documents
from gateway.contracts.documents import Secret
from gateway.contracts.errors import InputError
from gateway.control_plane.calibration import Driver, Grid, watch
from gateway.control_plane.probes import ProbeFailed
from gateway.control_plane.registration import ask_facts
from gateway.simulation.fit import Check, Fit, Window, checks, fit, passing, quality, ttft_error
from gateway.simulation.pages import read_page, read_pages
from gateway.simulation.profile import EngineProfile
from gateway.upstreams.vllm import Replica

CONNECT_S, FACTS_S = 5.0, 10.0
EACH = {
    "base_s": "step",
    "prefill_token_s": "prompt token",
    "sequence_s": "sequence",
    "context_token_s": "context token",
}


class Found(NamedTuple):
    """The windows, what the KV cache holds, where both come from, and the pages of a watch."""

    windows: list[Window]
    kv_tokens: int
    source: str
    pages: str = ""


@click.command("fit")
@click.option("--url", metavar="URL", help="A running engine that nobody else uses: it is asked some hundred requests.")
@click.option("--watch", "watch_s", type=click.FloatRange(min=1), help="Ask it nothing, look for so many seconds.")
@click.option(
    "--every", "every_s", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Between looks."
)
@click.option("--pages", "pages_path", type=click.Path(path_type=Path, dir_okay=False), help="Looks that were saved.")
@click.option("--save", "save_path", type=click.Path(path_type=Path, dir_okay=False), help="Save the looks of --watch.")
@click.option("--out", "out_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the profile there.")
@click.option("--name", default="fitted", show_default=True, help="What the profile is called.")
@click.option("--model", help="The model's name there.  [default: the first that the engine serves]")
@click.option("--prompt-tokens", "prompts", type=click.IntRange(1), multiple=True, help="Repeatable.")
@click.option("--answer-tokens", "answers", type=click.IntRange(1), multiple=True, help="Repeatable.")
@click.option("--requests", type=click.IntRange(1), multiple=True, help="Requests at once; repeatable.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="The fastest counts.")
@click.option(
    "--max-num-seqs", type=click.IntRange(1), default=256, show_default=True, help="As the engine was started."
)
@click.option(
    "--max-num-batched-tokens",
    type=click.IntRange(1),
    default=8192,
    show_default=True,
    help="The engine's flag of that name: its page does not tell it.",
)
@click.option("--gpus", type=click.IntRange(1), default=1, show_default=True, help="GPUs of one replica.")
@click.option("--upstream-key-env", metavar="NAME", help="The variable that holds the engine's own API key.")
def fit_command(
    url: str | None,
    watch_s: float | None,
    every_s: float,
    pages_path: Path | None,
    save_path: Path | None,
    out_path: Path | None,
    name: str,
    model: str | None,
    prompts: tuple[int, ...],
    answers: tuple[int, ...],
    requests: tuple[int, ...],
    repeats: int,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    gpus: int,
    upstream_key_env: str | None,
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
    if (url is None) == (pages_path is None):
        raise click.UsageError("name one of --url URL and --pages FILE")
    if save_path is not None and watch_s is None:
        raise click.UsageError("--save keeps the looks of --watch SECONDS")
    if pages_path is not None:
        found = _of_pages(documents.read_text(pages_path), f"fitted to {pages_path.name}")
    else:
        grid = Grid(prompts or Grid.prompts, answers or Grid.answers, requests or Grid.requests, repeats)
        key = None if upstream_key_env is None else Secret(env=upstream_key_env).read()
        found = asyncio.run(_ask(_replica(str(url), key), model, grid, watch_s, every_s))
    if save_path is not None:
        save_path.write_text(found.pages, encoding="utf-8")
    if not found.kv_tokens:
        raise InputError("the engine does not say how large its KV cache is (vllm:cache_config_info)")
    profile = EngineProfile(
        name=name,
        source=found.source,
        kv_tokens=found.kv_tokens,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        gpus=gpus,
        step=(fitted := fit(found.windows)).step,
    )
    held = checks(profile, found.windows)
    profile = profile.model_copy(update={"fit": quality(fitted, ttft_error(held))})
    _print(fitted, held, profile)
    if out_path is not None:
        text = yaml.safe_dump(profile.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
        out_path.write_text(text, encoding="utf-8")
        click.echo(f"{out_path}: use it with `gateway simulate --engine {out_path}`")


def _replica(url: str, key: str | None) -> Replica:
    try:
        documents.http_url(url, "http://10.0.0.7:8000")
    except ValueError as error:
        raise InputError(f"--url: {error}") from error
    return Replica("engine", url.rstrip("/"), api_key=key, connect_s=CONNECT_S)


def _of_pages(text: str, source: str) -> Found:
    pages = read_pages(text)
    return Found(passing(pages), pages[-1].kv_tokens, source, text)


async def _ask(replica: Replica, model: str | None, grid: Grid, watch_s: float | None, every_s: float) -> Found:
    """Look at an engine, or drive it."""
    try:
        facts = await ask_facts(replica, FACTS_S)
    except ProbeFailed as error:
        raise InputError(f"{replica.url}: {error}") from error
    served = model or next(iter(facts.models), None)
    if served is None:
        raise InputError(f"{replica.url} does not tell what it serves: name a model with --model")
    driver = Driver(replica, served, Random(), time.monotonic)  # noqa: S311 (prompts, not secrets)
    source = f"fitted to {served} on vLLM {facts.version or 'of unknown version'}"
    with Progress(console=console(), transient=True) as progress:
        if watch_s is not None:
            task = progress.add_task("looking", total=watch_s)
            text = await watch(driver, watch_s, every_s, lambda done: progress.update(task, completed=done))
            return _of_pages(text, f"{source}, watched")
        task = progress.add_task("asking", total=None)
        windows = await driver.calibrate(
            grid, facts.max_model_len, lambda done, of: progress.update(task, completed=done, total=of)
        )
        at, page = await driver.page()
    return Found(windows, read_page(page, at).kv_tokens, f"{source}, {len(windows)} bursts")


def _print(fitted: Fit, held: list[Check], profile: EngineProfile) -> None:
    lines = table("term", "for each", "microseconds", "share of the time", "mean error without it")
    for term in fitted.terms:
        microseconds = f"{term.seconds * 1e6:,.4g}"
        row(lines, term.name, EACH[term.name], microseconds, f"{term.share:.1%}", f"{term.error_without:.1%}")
    console().print(lines)
    if held:
        console().print(_bursts(held))
    click.echo(
        f"{fitted.windows} windows: R² {fitted.r2:.3f}, and {fitted.cross_validated_r2:.3f} where each is told by a "
        f"fit to the others; the time of a step to within {fitted.mean_error:.1%} on average"
    )
    if profile.fit is not None and profile.fit.ttft_error is not None:
        click.echo(f"the TTFT of the bursts, to which nothing was fitted, to within {profile.fit.ttft_error:.1%}")


def _bursts(held: list[Check]) -> object:
    lines = table("requests", "tokens in", "out", "step ms", "fitted", "TTFT ms", "simulated", "ITL ms", "simulated")
    for each in held:
        sizes = (each.burst.requests, each.burst.input_tokens, each.burst.output_tokens)
        times = (each.step_s, each.fitted_step_s, each.ttft_s, each.simulated_ttft_s, each.itl_s, each.simulated_itl_s)
        row(lines, *map(str, sizes), *("" if value is None else f"{value * 1e3:.2f}" for value in times))
    return lines
