"""One request of the ledger, decided again: the same values in, and is the same answer out?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.contracts.errors import InputError
from gateway.policy.decisions import Decided, Routed, Ruled, decode
from gateway.policy.routing import Choice, terms
from gateway.policy.rules import Rulebook


@dataclass(frozen=True)
class RuledAgain:
    """What a model's rules decide now: the rule that wins, and the release that it names, `live` as such.

    Where the configuration cannot answer, `rule` is why, and `release` None.
    """

    rule: str
    release: str | None

    def same(self, ruled: Ruled) -> bool:
        """Whether that is what was decided. A rule may have kept its id, and name another release by now."""
        return (self.rule, self.release) == (ruled.rule, ruled.release)


@dataclass(frozen=True)
class Again:
    """What was decided of a request, and what the same inputs come to now.

    `rules` has, for each model with rules, what they decided and what they decide; the second is None where no
    configuration was given.
    """

    values: Mapping[str, Any]
    decided: Decided[Ruled]
    routes: list[tuple[Routed, Choice]]
    rules: list[tuple[Ruled, RuledAgain | None]]
    config: str | None

    @property
    def same(self) -> bool:
        """Whether everything that could be decided again came out the same."""
        routed = all(each.position == choice.position for each, choice in self.routes)
        return routed and all(found is None or found.same(each) for each, found in self.rules)


def again(values: Mapping[str, Any], rulebook: Rulebook | None, digest: str | None) -> Again:
    """Decide a row's request again; the rules only with a `rulebook`, of a configuration with that digest."""
    decided = Decided[Ruled]() if values["decision"] is None else decode(values["decision"])
    routes = [(each, each.again()) for each in decided.routes]
    rules = [(each, None if rulebook is None else _rule(each, rulebook)) for each in decided.ruled]
    return Again(values, decided, routes, rules, digest)


def _rule(ruled: Ruled, rulebook: Rulebook) -> RuledAgain:
    try:
        made = rulebook.replay(ruled.model, ruled.inputs)
    except InputError as error:
        return RuledAgain(f"cannot be told: {error}", None)
    return RuledAgain(made.rule, made.release)


def as_json(found: Again) -> dict[str, Any]:
    """The same for programs."""
    told = ("request_id", "started_at", "model", "release", "replica", "attempts", "outcome")
    return {
        **{name: found.values[name] for name in told},
        "config_digest": found.decided.config or None,
        "same": found.same,
        "rules": [_rule_as_json(each, made) for each, made in found.rules],
        "queued_s": found.decided.queued_s,
        "routes": [_route_as_json(each, choice) for each, choice in found.routes],
    }


def _rule_as_json(ruled: Ruled, made: RuledAgain | None) -> dict[str, Any]:
    told = ("model", "rule", "release", "region", "inputs")
    return {
        **{name: getattr(ruled, name) for name in told},
        "again": None if made is None else made.rule,
        "again_release": None if made is None else made.release,
    }


def _route_as_json(route: Routed, choice: Choice) -> dict[str, Any]:
    names = [candidate.name for candidate in route.candidates]
    pairs = zip(route.candidates, parts_of(route, choice), strict=True)
    return {
        "policy": route.policy,
        "chosen": names[route.position],
        "reason": route.reason,
        "again": names[choice.position],
        "ask": _named(route.ask),
        "candidates": [{**_named(candidate), **part} for candidate, part in pairs],
    }


def parts_of(route: Routed, choice: Choice) -> list[dict[str, Any]]:
    """What made each candidate's score: its terms, where the policy has some."""
    if route.policy == "score":
        return list(terms(route.candidates, route.ask))
    scores = choice.scores or (None,) * len(route.candidates)
    return [{"score": score} for score in scores]


def _named(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
