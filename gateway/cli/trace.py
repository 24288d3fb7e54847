"""`gateway trace`: the ledger's traffic as a trace to replay, with no text, no key and no name in it."""

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

import click

from gateway.cli.common import Day, config_option, database_option, stores_of, writing
from gateway.contracts.errors import InputError
from gateway.policy.decisions import decode
from gateway.simulation.traces import BLOCK_TOKENS, Arrival, lines
from gateway.stores import spool
from gateway.stores.ledger import Ledger


class _Numbers:
    """A number for each thing, in the order in which things were met: what it was cannot be told from it."""

    def __init__(self) -> None:
        self._known: dict[object, int] = {}

    def __getitem__(self, thing: object) -> int:
        return self._known.setdefault(thing, len(self._known))


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.  [default: stdout]")
@click.option("--since", type=Day(), help="Requests from this day on (UTC).")
@click.option("--until", type=Day(), help="Requests before this day (UTC).")
@click.option("--model", help="Those of one model.  [default: all]")
@config_option
@database_option
def trace(
    out: Path | None,
    since: float | None,
    until: float | None,
    model: str | None,
    config_path: Path | None,
    database: str | None,
) -> None:
    """Write the ledger's traffic as a trace: one JSON object a line, as Mooncake has them and `gateway simulate` reads.

    Times start at 0, teams are t0, t1, …, and prefixes are numbers that say what began alike, and not how. Prefixes are
    known of requests that had replicas to choose from by the policy `score`. The ledger keeps no classes: `class` is
    "" and `priority` 0 on every line, so a replay has one class until you fill in `priority`. Left out, and counted on
    stderr, are requests whose tokens no engine has told.

    \b
    Examples:
      gateway trace --since 2026-11-01 --out november.jsonl
      gateway simulate --trace november.jsonl --replicas 4 --replicas 8
    """
    stores = stores_of(config_path, database)
    spool.recover(stores.spool_folder, stores.ledger.insert)
    left_out = [0]
    found = lines(_arrivals(stores.ledger, since, until, model, left_out))
    first = next(found, None)
    if first is None:
        raise InputError(
            "no request of the ledger is of that time and model, and has its tokens told: nothing to write"
        )
    if out is None:
        written = _write(chain([first], found), sys.stdout)
    else:
        with writing(out), out.open("w", encoding="utf-8") as file:  # a disk may fill at any line, and at the close
            written = _write(chain([first], found), file)
    click.echo(f"{written} requests written, {left_out[0]} without tokens left out", err=True)


def _write(found: Iterable[str], target: TextIO) -> int:
    written = 0
    for line in found:
        target.write(line + "\n")
        written += 1
    return written


def _arrivals(
    ledger: Ledger, since: float | None, until: float | None, model: str | None, left_out: list[int]
) -> Iterator[Arrival]:
    teams, prefixes, start = _Numbers(), _Numbers(), None
    for row in ledger.traffic(since, until, model):
        if row["input_tokens"] is None or row["output_tokens"] is None or row["input_tokens"] < 1:
            left_out[0] += 1
            continue
        start = row["started_at"] if start is None else start
        decided = None if row["decision"] is None else decode(row["decision"])
        hashes = [] if decided is None else decided.blocks
        block_tokens = BLOCK_TOKENS
        if decided is not None and hashes:
            # The size of a block was an estimate, and the prompt has its true length by now.
            block_tokens = max(1, min(decided.block_tokens, row["input_tokens"] // len(hashes)))
            hashes = hashes[: -(-row["input_tokens"] // block_tokens)]
        yield Arrival(
            at=row["started_at"] - start,
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            blocks=tuple(prefixes[each] for each in hashes),
            block_tokens=block_tokens,
            tenant=f"t{teams[row['team']]}",
            model=row["model"],
        )
