"""`evals show`: look into a run."""

from pathlib import Path

import click
import msgspec

from evals import run_log
from evals.cli.common import Command
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("show", cls=Command)
@click.argument("run", type=_FILE)
@click.argument("sample_id")
def show(run: Path, sample_id: str) -> None:
    """Print everything that a run recorded about one sample.

    \b
    Examples:
      evals show runs/faq-2.jsonl plan.free.price.h01
    """
    log = run_log.read(run, torn_tail=True)
    found = [record for record in log.records if record.id == sample_id]
    if not found:
        raise InputError(f"{str(run)!r} has no sample {sample_id!r}: its ids are those of {log.manifest.dataset!r}")
    for record in found:
        shown = msgspec.structs.replace(record, prev="")
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2))
