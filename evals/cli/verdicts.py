"""`evals keys`, `evals verify`: who may sign a verdict, and whether one of them did."""

from datetime import UTC, datetime
from pathlib import Path

import click

from evals import verdict_rests
from evals.cli import tables
from evals.cli.common import Command, GateCommand, console
from evals.decision import Decision
from evals.gate import EXIT_CODES
from gateway.contracts import attestation
from gateway.contracts.errors import InputError, VerdictError

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("keys", cls=Command)
@click.option("--private", required=True, type=_FILE, help="Where the private key goes; keep it secret.")
@click.option("--public", required=True, type=_FILE, help="Where the public key goes; gateways trust it.")
def keys(private: Path, public: Path) -> None:
    """Make a pair of keys (ed25519) that signs verdicts.

    \b
    Examples:
      evals keys --private gate.pem --public gate.pub
    """
    click.echo(f"key {attestation.generate_keys(private, public)}")
    click.echo(f"sign with --sign-with {private}; list {public} under the gateway's enforcement.trusted_keys")


@click.command("verify", cls=GateCommand)
@click.argument("file", type=_FILE)
@click.option("--key", "trusted", multiple=True, required=True, type=_FILE, help="A trusted public key (PEM).")
@click.option("--release", type=_FILE, help="Manifest of the release: the verdict has to be about exactly this one.")
@click.option("--gate", "gate_file", type=_FILE, help="The gate file that the verdict has to rest on.")
@click.option("--run", type=_FILE, help="The log of both arms that it has to rest on.")
@click.option("--candidate", type=_FILE, help="The candidate's log that it has to rest on.")
@click.option("--baseline", type=_FILE, help="The baseline's log that it has to rest on.")
@click.option("--dataset", "data", type=_FILE, help="The data set that it has to rest on.")
@click.option("--split", help="The split of the data set  [that of --gate].")
def verify(file: Path, trusted: tuple[Path, ...], split: str | None, **files: Path | None) -> None:
    """Check a verdict: its signature, its date, and that it rests on exactly these files. Then print what it says.

    Exit codes: 3 when no trusted key signed these bytes, when the verdict expired, or when a file is not the one that
    it rests on; otherwise what the verdict says, as `evals gate`: 0 pass or waived, 1 fail, 2 inconclusive, 3 invalid.

    \b
    Examples:
      evals verify verdicts/faq@2.dsse.json --key gate.pub
      evals verify faq@2.dsse.json --key gate.pub --release faq-2.yaml --gate gate.yaml --run runs/faq.jsonl
      evals verify faq@2.dsse.json --key gate.pub --candidate b.jsonl --baseline a.jsonl --dataset heldout.jsonl
    """
    if split is not None and files["data"] is None:
        raise click.UsageError("--split is of a data set: give --dataset too")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{str(file)!r}: cannot be read: {error.strerror}") from error
    keys = [attestation.load_public(path) for path in trusted]
    try:
        verdict = attestation.verify(content, keys)
    except VerdictError as error:
        raise VerdictError(f"{str(file)!r}: {error}") from error
    predicate, now = verdict.predicate, datetime.now(UTC)
    counts = verdict_rests.dated(predicate, now)
    differ = verdict_rests.differences(verdict, verdict_rests.Files(split=split, **files))
    screen = console()
    decision = Decision(predicate.gate.name, predicate.verdict, predicate.reason, predicate.metrics)
    screen.print(tables.decision_table(decision))
    screen.print(f"{tables.answer(predicate.verdict)}", end=": ")
    screen.print(f"{verdict.release} {verdict.release_digest}", markup=False, soft_wrap=True)
    screen.print(f"reason: {predicate.reason}", markup=False, soft_wrap=True)
    screen.print(f"signature: good; until {predicate.expires:%Y-%m-%d %H:%M} UTC", markup=False)
    if checked := [str(path) for path in files.values() if path is not None and not differ]:
        screen.print(f"rests on exactly these files: {', '.join(checked)}", markup=False, soft_wrap=True)
    if problems := (*counts, *differ):
        raise InputError(f"{str(file)!r} is refused: {'; '.join(problems)}")
    raise click.exceptions.Exit({"waived": 0, **EXIT_CODES}[predicate.verdict])
