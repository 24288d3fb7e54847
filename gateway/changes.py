"""What one deployment says and another does not: `gateway check --against`, and the log line of a reload.

    + pools.big: {"policy": "score", "replicas": {"big-0": {"url": "http://10.0.0.9:8000"}}}
    - models.faq.releases.faq@1: {"digest": "sha256:…", "pool": "main"}
    ~ prices.models.faq.input: "0.20" → "0.25"
    + models.faq.rules.black-friday: {"release": "faq@2", "before": "default", …}
    ~ models.faq.rules: ["carnival", "summer"] → ["summer", "carnival"]
    ~ listen.port: 8080 → 9090 (needs a restart)

Compared is what a configuration resolves to, manifests and prices by their content, and not how its files are written.
A secret takes part by its reference alone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.config import Deployment
from gateway.contracts import canonical

AT_START_ONLY = frozenset({"listen", "admin", "database", "ledger", "redis", "tracing"})
"""Keys that a running gateway cannot follow: its sockets, its ledger, its budgets and its traces are open."""

LOGGED = 8000
"""Characters of a summary at most: with thousands of rules it would be half a megabyte in one line of a log."""

_ABSENT = object()
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@dataclass(frozen=True)
class Change:
    """One difference. `old` is None where something was added, `new` where it was removed."""

    kind: str
    at: tuple[str, ...]
    old: Any = None
    new: Any = None

    @property
    def needs_restart(self) -> bool:
        """Whether a reload leaves this as it was."""
        return self.at[0] in AT_START_ONLY

    def __str__(self) -> str:
        values = [json.dumps(value, ensure_ascii=False) for value in (self.old, self.new) if value is not None]
        restart = " (needs a restart)" if self.needs_restart else ""
        return f"{_SIGNS[self.kind]} {'.'.join(self.at)}: {' → '.join(values)}{restart}"

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        key = ".".join(self.at)
        return {
            "change": self.kind, "key": key, "old": self.old, "new": self.new, "needs_restart": self.needs_restart
        }  # fmt: skip


def compare(old: Deployment, new: Deployment) -> list[Change]:
    """What has to be done to `old` to make it `new`, in the order of their keys."""
    return list(_compared(_facts(old), _facts(new), ()))


def digest(deployment: Deployment) -> str:
    """sha256 over the canonical JSON of what a configuration resolves to: the same digest, the same behaviour."""
    return canonical.digest(_facts(deployment))


def summary(changes: Sequence[Change]) -> str:
    """The changes in one line, for a log."""
    told = "; ".join(str(change) for change in changes) or "nothing that it serves by"
    if len(told) > LOGGED:
        told = f"{told[:LOGGED]}… (cut: {len(changes)} changes in all)"
    return told


def _facts(deployment: Deployment) -> dict[str, Any]:
    """Everything that a deployment serves by, as JSON. Lists whose items have names are mappings here."""
    config, facts = deployment.config, deployment.config.model_dump(mode="json", by_alias=True, exclude_none=True)
    for name, pool in config.pools.items():
        replicas = zip(pool.replicas, facts["pools"][name]["replicas"], strict=True)
        facts["pools"][name]["replicas"] = {
            replica.name or f"{name}-{index}": {key: value for key, value in fact.items() if key != "name"}
            for index, (replica, fact) in enumerate(replicas)
        }
    for name in config.models:
        facts["models"][name]["releases"] = {}
    for release in deployment.releases.values():
        served: dict[str, Any] = {"digest": release.digest, "pool": release.pool}
        if release.adapter is not None:
            served["adapter"] = release.adapter.model_dump(mode="json", exclude_none=True)
        facts["models"][release.model]["releases"][release.name] = served
    facts["prices"] = deployment.prices.model_dump(mode="json", by_alias=True, exclude_none=True)
    return facts


def _compared(old: Mapping[str, Any], new: Mapping[str, Any], at: tuple[str, ...]) -> Iterator[Change]:
    for key in sorted({*old, *new}):
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if before is _ABSENT:
            yield Change("added", (*at, key), new=after)
        elif after is _ABSENT:
            yield Change("removed", (*at, key), old=before)
        elif isinstance(before, dict) and isinstance(after, dict):
            yield from _compared(before, after, (*at, key))
        elif before != after:
            known = _known(before), _known(after)
            if known[0] and known[1]:
                yield from _reordered(known[0], known[1], (*at, key))
            else:
                yield Change("changed", (*at, key), before, after)


def _known(rules: Any) -> dict[str, dict[str, Any]]:
    """What each rule of a list says, by its id; empty for what is no list of rules."""
    if not isinstance(rules, list) or not all(isinstance(rule, dict) and "id" in rule for rule in rules):
        return {}
    return {rule["id"]: {key: value for key, value in rule.items() if key != "id"} for rule in rules}


def _reordered(old: Mapping[str, Any], new: Mapping[str, Any], at: tuple[str, ...]) -> Iterator[Change]:
    """Rules are compared one by one. The first that holds wins: so of a new one its place is told, and who moved."""
    follower = dict(zip(new, list(new)[1:], strict=False))
    for change in _compared(old, new, at):
        name = change.at[-1]
        if change.kind == "added" and len(change.at) == len(at) + 1 and name in follower:
            change = replace(change, new={**change.new, "before": follower[name]})
        yield change
    before, after = [name for name in old if name in new], [name for name in new if name in old]
    while before and before[0] == after[0]:
        del before[0], after[0]
    while before and before[-1] == after[-1]:
        del before[-1], after[-1]
    if before:
        yield Change("changed", at, before, after)
