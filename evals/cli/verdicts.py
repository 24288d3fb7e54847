"""`evals keys`, `evals verify`: who may sign a verdict, and whether one of them did."""

from datetime import UTC, datetime
from pathlib import Path

import click

from evals.cli import tables
from evals.cli.common import Command, console
from evals.decision import Decision
from gateway.contracts import attestation
from gateway.contracts.errors import InputError

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


@click.command("verify", cls=Command)
@click.argument("file", type=_FILE)
@click.option("--key", "trusted", multiple=True, required=True, type=_FILE, help="A trusted public key (PEM).")
def verify(file: Path, trusted: tuple[Path, ...]) -> None:
    """Check the signature of a verdict and print what it says.

    Exit code 0 says that a trusted key signed these bytes, whatever the verdict is; 3 that none did.

    \b
    Examples:
      evals verify verdicts/faq@2.dsse.json --key gate.pub
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{str(file)!r}: cannot be read: {error.strerror}") from error
    verdict = attestation.verify(content, [attestation.load_public(path) for path in trusted])
    predicate = verdict.predicate
    expired = "expired" if predicate.expires <= datetime.now(UTC) else "counts"
    screen = console()
    decision = Decision(predicate.gate.name, predicate.verdict, predicate.reason, predicate.metrics)
    screen.print(tables.decision_table(decision))
    screen.print(f"{tables.answer(predicate.verdict)}", end=": ")
    screen.print(f"{verdict.release} {verdict.release_digest}", markup=False, soft_wrap=True)
    screen.print(f"reason: {predicate.reason}", markup=False, soft_wrap=True)
    screen.print(f"signature: good; {expired} until {predicate.expires:%Y-%m-%d %H:%M} UTC", markup=False)
