"""One request of the ledger, decided again: the same values in, and is the same answer out?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from gateway.cli.common import console, moment, row, table
from gateway.contracts.errors import InputError
from gateway.policy.decisions import Decided, Routed, Ruled, decode
from gateway.policy.routing import Choice, terms
from gateway.policy.rules import Rulebook

SAME, OTHER = "decided again: the same", "decided again: NOT the same"


@dataclass(frozen=True)
class Again:
    """What was decided of a request, and what the same inputs come to now.

    `rules` has, for each model with rules, what they decided and what they decide; the second is None where no
    configuration was given, and a text where the configuration cannot answer.
    """

    values: Mapping[str, Any]
    decided: Decided[Ruled]
    routes: list[tuple[Routed, Choice]]
    rules: list[tuple[Ruled, str | None]]
    config: str | None

    @property
    def same(self) -> bool:
        """Whether everything that could be decided again came out the same."""
        routed = all(each.position == choice.position for each, choice in self.routes)
        return routed and all(found in (None, each.rule) for each, found in self.rules)


def again(values: Mapping[str, Any], rulebook: Rulebook | None, digest: str | None) -> Again:
    """Decide a row's request again; the rules only with a `rulebook`, of a configuration with that digest."""
    decided = Decided[Ruled]() if values["decision"] is None else decode(values["decision"])
    routes = [(each, each.again()) for each in decided.routes]
    rules = [(each, None if rulebook is None else _rule(each, rulebook)) for each in decided.ruled]
    return Again(values, decided, routes, rules, digest)


def _rule(ruled: Ruled, rulebook: Rulebook) -> str:
    try:
        return rulebook.replay(ruled.model, ruled.inputs).rule
    except InputError as error:
        return f"cannot be told: {error}"


def as_json(found: Again) -> dict[str, Any]:
    """The same for programs."""
    told = ("request_id", "started_at", "model", "release", "replica", "attempts", "outcome")
    rules = [
        {"model": each.model, "rule": each.rule, "release": each.release, "region": each.region, "inputs": each.inputs}
        for each, _ in found.rules
    ]
    return {
        **{name: found.values[name] for name in told},
        "config_digest": found.decided.config or None,
        "same": found.same,
        "rules": [{**each, "again": rule} for each, (_, rule) in zip(rules, found.rules, strict=True)],
        "queued_s": found.decided.queued_s,
        "routes": [_route_as_json(each, choice) for each, choice in found.routes],
    }


def _route_as_json(route: Routed, choice: Choice) -> dict[str, Any]:
    names = [candidate.name for candidate in route.candidates]
    pairs = zip(route.candidates, _parts(route, choice), strict=True)
    return {
        "policy": route.policy,
        "chosen": names[route.position],
        "reason": route.reason,
        "again": names[choice.position],
        "ask": _named(route.ask),
        "candidates": [{**_named(candidate), **part} for candidate, part in pairs],
    }


def show(found: Again) -> None:
    """Print it for people."""
    values, decided = found.values, found.decided
    click.echo(f"{values['request_id']}  {moment(values['started_at'])}  team {values['team']}, {values['endpoint']}")
    click.echo(f"  {values['model']} → {values['release']} on {values['replica'] or 'no replica'}: {values['outcome']}")
    if decided.queued_s:
        click.echo(f"  waited {decided.queued_s:.3f} s for a replica with room")
    for each, rule in found.rules:
        _show_rule(each, rule, found)
    for number, (route, choice) in enumerate(found.routes, start=1):
        _show_route(number, route, choice)
    alone = values["attempts"] - len(found.routes)
    if alone > 0:
        click.echo(f"\n{alone} of {values['attempts']} attempts had one replica to go to: there was nothing to choose")


def _show_rule(ruled: Ruled, rule: str | None, found: Again) -> None:
    click.echo(f"\nthe rule {ruled.rule!r} of {ruled.model!r} won in {ruled.region}, for {ruled.release}")
    for name, value in sorted(ruled.inputs.items()):
        click.echo(f"    {name} = {value!r}")
    if rule is None:
        click.echo("  --config FILE decides it again")
        return
    click.echo(f"  {SAME if rule == ruled.rule else f'{OTHER}, but {rule}'}")
    if found.config != found.decided.config:
        click.echo(f"  (by another configuration: {found.config}, and the request's was {found.decided.config})")


def _show_route(number: int, route: Routed, choice: Choice) -> None:
    chosen = route.candidates[route.position].name
    click.echo(f"\nattempt {number}: policy {route.policy}, {chosen!r} because of {route.reason}")
    if route.ask.tokens:
        click.echo(f"  a prompt of about {route.ask.tokens} tokens")
    lines = table("replica", "weight", "in flight", "outstanding", "cached", "KV", "waiting", "score", "")
    for position, (candidate, part) in enumerate(zip(route.candidates, _parts(route, choice), strict=True)):
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
    other = f"{OTHER}, but {route.candidates[choice.position].name!r}"
    click.echo(f"  {SAME if choice.position == route.position else other}")


def _parts(route: Routed, choice: Choice) -> list[dict[str, Any]]:
    """What made each candidate's score: its terms, where the policy has some."""
    if route.policy == "score":
        return list(terms(route.candidates, route.ask))
    scores = choice.scores or (None,) * len(route.candidates)
    return [{"score": score} for score in scores]


def _named(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
