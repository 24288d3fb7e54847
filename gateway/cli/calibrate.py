"""`gateway costs calibrate`: the weights by which a GPU's cost is split, fitted to a real engine."""

from pathlib import Path
from typing import Any

import click
import yaml

from gateway.cli.fitting import Fitted, Looks, check_writable, fitted_to, look, looking_options, show
from gateway.contracts.commands import Number
from gateway.contracts.errors import InputError
from gateway.settings.profile import save

LEAST_R2 = 0.8
"""Of windows that are told by a fit to the others: below it the terms are as much noise as engine."""
SIZES = ("max-num-seqs", "max-num-batched-tokens")


class Flag(click.ParamType[tuple[str, Any]]):
    """One flag of the engine, such as `kv-cache-dtype=fp8`."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Read name and value; a value is what YAML makes of it, and a flag without one is on."""
        if isinstance(value, tuple):
            return value
        name, given, text = value.lstrip("-").partition("=")
        if not name or (given and not text):
            self.fail(f"expected a flag such as kv-cache-dtype=fp8, found {value!r}", param, ctx)
        if name in SIZES:
            self.fail(f"give {name!r} as the option --{name}", param, ctx)
        try:
            read = yaml.safe_load(text) if given else True
        except yaml.YAMLError:
            read = text
        return name, read if isinstance(read, str | bool | int | float) else text


@click.command("calibrate")
@click.argument("engine_url", required=False)
@click.option("--gpu", required=True, metavar="NAME", help="The kind of GPU that it runs on, such as H100-SXM-80GB.")
@click.option(
    "--out", "out_path", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Write the profile there."
)
@click.option("--name", help="What the profile is called.  [default: the model and the GPU]")
@click.option("--flag", "flags", type=Flag(), multiple=True, help="A flag of the engine; repeatable.")
@click.option(
    "--least-r2",
    type=Number(max=1),
    default=LEAST_R2,
    show_default=True,
    help="The R² that windows must reach which are told by a fit to the others.",
)
@click.option("--force", is_flag=True, help="Write the profile of a poor fit too.")
@looking_options
def calibrate(
    engine_url: str | None,
    gpu: str,
    out_path: Path,
    name: str | None,
    flags: tuple[tuple[str, Any], ...],
    least_r2: float,
    force: bool,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    gpus: int,
    **looks: Any,
) -> None:
    """Fit the weights of costs to the engine at ENGINE_URL, and write them as a profile.

    A profile holds for one model, on one kind of GPU, with the engine's flags: they stand in it, with the fit's quality
    and its date. A grid of small loads is driven (minutes on a GPU, nobody else may use the engine), or with --watch
    the load that is there is looked at. Fits as `gateway simulate fit` does; the simulator reads the profile too.

    \b
    Examples:
      gateway costs calibrate http://10.0.0.7:8000 --gpu H100-SXM-80GB --out h100-support.yaml
      gateway costs calibrate http://10.0.0.7:8000 --gpu L4 --flag kv-cache-dtype=fp8 --watch 600 --out l4.yaml
    """
    asked = Looks(url=engine_url, **looks)
    if asked.pages_path is not None and asked.model is None:
        raise click.UsageError("saved looks do not tell whose they are: name the model with --model")
    check_writable(out_path, "--out")
    found = look(asked, "ENGINE_URL")
    fitted = fitted_to(
        found,
        name=name or f"{found.model} on {gpu}",
        gpu=gpu,
        gpus=gpus,
        flags={**dict(zip(SIZES, (max_num_seqs, max_num_batched_tokens), strict=True)), **dict(flags)},
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
    )
    show(fitted)
    _judge(fitted, least_r2, force)
    save(fitted.profile, out_path)
    click.echo(f"{out_path}: the cost weights of {found.model} on {gpu}")


def _judge(fitted: Fitted, least_r2: float, force: bool) -> None:
    """Raises InputError for a poor fit that nobody forces."""
    reached = fitted.fit.cross_validated_r2
    if reached >= least_r2:
        return
    told = f"the fit is poor: R² {reached:.3f} where each window is told by a fit to the others, expected {least_r2:g}"
    if not force:
        raise InputError(
            f"{told}. No profile is written: fit an engine that nobody else uses, with more --repeats and larger "
            "loads, or write it all the same with --force"
        )
    click.echo(f"{told}. Written because of --force: shares that rest on it are rough", err=True)
