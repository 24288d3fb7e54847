"""Which release answers: what the rules of the model asked for say, its live one without any, or the release that the
harness pins by name."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from gateway.config import Release
from gateway.contracts.errors import ModelNotFound, PermissionDenied, ReleaseNotGated
from gateway.contracts.release import split_name
from gateway.policy.auth import KeyRecord, Principal
from gateway.policy.gating import Gate
from gateway.policy.inputs import Header
from gateway.policy.rules import Decision, Rulebook
from gateway.policy.shapes import Request
from gateway.settings.rules import LIVE

LONGEST = 100
"""Characters that an error repeats of a name that nobody has here: a client may have written megabytes."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a decision reads, replaced as a whole when any of it changes.

    `live` maps a model to its release's name; `gates` maps a release's name to its gate, and is empty where
    enforcement is off; `mode` is `require`, `warn` or `off`; `fallbacks` names the models that answer in the place of
    one whose pool cannot, in their order; `rules` decide for the models that have some.
    """

    keys: Mapping[str, KeyRecord]
    releases: Mapping[str, Release]
    live: Mapping[str, str]
    gates: Mapping[str, Gate]
    mode: str
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rules: Rulebook | None = None


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What rules may read of a request beside its key."""

    request: Request
    header: Header


class Resolved(msgspec.Struct, frozen=True, gc=False):
    """The release that answers, a warning when it serves without a verdict in `warn` mode, and the rules' decision.

    The decision is None where no rule was asked: for a model without rules, and for a release that was pinned.
    """

    release: Release
    ungated: str | None
    decision: Decision | None = None


def resolve(name: str, principal: Principal, snapshot: Snapshot, now: float, asked: Asked | None = None) -> Resolved:
    """The release for a `model` field. Without `asked` no rule takes part: the live release answers.

    Raises ModelNotFound, PermissionDenied or ReleaseNotGated.
    """
    if name in snapshot.live:
        if principal.models is not None and name not in principal.models:
            raise PermissionDenied(f"this key may not use the model {name!r}", param="model")
        decision, named = None, LIVE
        if asked is not None and snapshot.rules is not None and (book := snapshot.rules.books.get(name)) is not None:
            decision = book.decide(asked.request, principal, asked.header, now)
            named = decision.release
        release = snapshot.releases[snapshot.live[name] if named == LIVE else named]
        refusal = None if snapshot.mode == "off" else snapshot.gates[release.name].closed(now)
        if refusal is not None and snapshot.mode == "require":
            raise ReleaseNotGated(refusal, param="model")
        return Resolved(release, refusal, decision)
    if name in snapshot.releases:
        return Resolved(_pinned(snapshot.releases[name], principal), None)
    known = ", ".join(repr(model) for model in sorted(snapshot.live) if principal.may_use(model))
    hint = "" if split_name(name) is None else " (a release is pinned as MODEL@VERSION)"
    raise ModelNotFound(f"no model {shown(name)} here{hint}; this key may use {known or 'none'}", param="model")


def fallbacks(
    name: str, principal: Principal, snapshot: Snapshot, now: float, asked: Asked | None = None
) -> Iterator[Resolved]:
    """What may answer in the place of a model: its fallbacks, by their own rules, and theirs after them.

    Those that the key may not use, and those that have no verdict where one is required, are left out. The harness gets
    none: what it measures is what it asked for.
    """
    if principal.scope == "evaluate" or name not in snapshot.live:
        return
    queue, seen = list(snapshot.fallbacks.get(name, ())), {name}
    while queue:
        model = queue.pop(0)
        if model in seen:
            continue
        seen.add(model)
        queue += snapshot.fallbacks.get(model, ())
        with suppress(PermissionDenied, ReleaseNotGated):
            yield resolve(model, principal, snapshot, now, asked)


def _pinned(release: Release, principal: Principal) -> Release:
    """A release by its own name: the harness alone reaches it, verdict or not, since it makes the verdict."""
    if principal.scope != "evaluate" or not principal.may_use(release.model):
        raise PermissionDenied(
            f"{release.name!r} is a release, and only a key of scope `evaluate` reaches one by name: "
            f"ask for the model {release.model!r}",
            param="model",
        )
    return release


def shown(name: str) -> str:
    """A client's name for a model as an error repeats it."""
    return repr(name) if len(name) <= LONGEST else f"{name[:LONGEST]!r}… ({len(name)} characters)"
