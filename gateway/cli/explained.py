"""One request of the ledger that was decided again, for people."""

import click

from gateway.admin.requests import Again, RuledAgain, parts_of
from gateway.cli.common import moment
from gateway.cli.tables import console, row, table
from gateway.policy.decisions import Routed, Ruled
from gateway.policy.routing import Choice

SAME, OTHER = "decided again: the same", "decided again: NOT the same"


def show(found: Again) -> None:
    """Print it for people."""
    values, decided = found.values, found.decided
    click.echo(f"{values['request_id']}  {moment(values['started_at'])}  team {values['team']}, {values['endpoint']}")
    click.echo(f"  {values['model']} → {values['release']} on {values['replica'] or 'no replica'}: {values['outcome']}")
    if decided.queued_s:
        click.echo(f"  waited {decided.queued_s:.3f} s for a replica with room")
    for each, made in found.rules:
        _show_rule(each, made, found)
    # Not of attempts: one with a single replica to go to leaves no choice, and may have come before.
    for number, (route, choice) in enumerate(found.routes, start=1):
        _show_route(number, route, choice)
    alone = values["attempts"] - len(found.routes)
    if alone > 0:
        click.echo(f"\n{alone} of {values['attempts']} attempts had one replica to go to: there was nothing to choose")


def _show_rule(ruled: Ruled, made: RuledAgain | None, found: Again) -> None:
    click.echo(f"\nthe rule {ruled.rule!r} of {ruled.model!r} won in {ruled.region}, for {ruled.release}")
    for name, value in sorted(ruled.inputs.items()):
        click.echo(f"    {name} = {value!r}")
    if made is None:
        click.echo("  --config FILE decides it again")
        return
    other = f"{OTHER}, but {made.rule}" + ("" if made.release is None else f", for {made.release}")
    click.echo(f"  {SAME if made.same(ruled) else other}")
    if found.config != found.decided.config:
        click.echo(f"  (by another configuration: {found.config}, and the request's was {found.decided.config})")


def _show_route(number: int, route: Routed, choice: Choice) -> None:
    chosen = route.candidates[route.position].name
    click.echo(f"\nchoice {number}: policy {route.policy}, {chosen!r} because of {route.reason}")
    if route.ask.tokens:
        click.echo(f"  a prompt of about {route.ask.tokens} tokens")
    lines = table("replica", "weight", "in flight", "outstanding", "cached", "KV", "waiting", "score", "")
    for position, (candidate, part) in enumerate(zip(route.candidates, parts_of(route, choice), strict=True)):
        row(
            lines,
            candidate.name,
            f"{candidate.weight:.2f}",
            str(candidate.in_flight),
            str(candidate.outstanding),
            str(candidate.cached) + (" (too busy)" if part.get("capped") else ""),
            "unknown" if candidate.kv_usage is None else f"{candidate.kv_usage:.2f}",
            "unknown" if candidate.waiting is None else str(candidate.waiting),
            "" if part["score"] is None else f"{part['score']:.1f}",
            "chosen" if position == route.position else "",
        )
    console().print(lines)
    # A policy is pure, and what it saw is recorded.
    other = f"{OTHER}, but {route.candidates[choice.position].name!r}: another version of the policy decided it"
    click.echo(f"  {SAME if choice.position == route.position else other}")
