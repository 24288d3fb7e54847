"""Virtual keys: `sk-tg-<public id>-<secret>`, stored hashed, looked up by the public id, compared in constant time.

The secret has 192 random bits, so one round of SHA-256 is enough: there is no dictionary to guess from.
"""

import dataclasses
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.contracts.errors import InvalidKey
from gateway.settings.limits import CLASSES, STANDARD, ClassConfig, Quota, TeamConfig

Scope = Literal["serve", "evaluate", "admin"]
"""`evaluate` reaches releases by name; `admin` is served, and told how each request was routed."""

_KEY = re.compile(rb"sk-tg-([0-9a-f]{12})-([0-9a-f]{48})")
_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, who pays, and what admission asks of both.

    `models` are those of the key and of its team both; None: every model. `quota` is the key's own, `team_quota` what
    its team's keys share; None: no limit. `priority` is the level of its class, `weight` its team's share.
    `tags` are the key's own, in JSON.
    """

    key_id: str
    team: str
    scope: Scope
    models: frozenset[str] | None
    quota: Quota | None = None
    team_quota: Quota | None = None
    priority_class: str = STANDARD
    priority: int = 0
    weight: float = 1.0
    tags: str | None = None

    def may_use(self, model: str) -> bool:
        """Whether the key reaches a model."""
        return self.models is None or model in self.models


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is stored. Times are seconds since the epoch. `models` None: every model; a limit None: none.
    `tags` is JSON of text to text, its names in order.

    `principal` is what the key resolves to beside its team's settings, worked out once (`with_team`) and not stored;
    None: the key stands alone.
    """

    id: str
    digest: bytes
    name: str
    team: str
    scope: Scope
    models: frozenset[str] | None
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    priority_class: str | None = None
    tags: str | None = None
    principal: Principal | None = field(default=None, compare=False, repr=False)

    def refusal(self, now: float) -> str | None:
        """Why the key is no longer good; None while it is.

        A revoked key is at its end whatever its moment: the clock of whoever revoked it may be ahead of this one.
        """
        if self.revoked_at is not None:
            return "this key was revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "this key has expired"
        return None


def with_team(record: KeyRecord, team: TeamConfig | None, classes: Mapping[str, ClassConfig]) -> KeyRecord:
    """The record with its principal: models of both, the quotas of each, the key's class, else its team's.

    A class that is not among `classes` counts as none: a key outlives the configuration that it was made for.
    """
    return dataclasses.replace(record, principal=_principal(record, team, classes))


def _principal(record: KeyRecord, team: TeamConfig | None, classes: Mapping[str, ClassConfig]) -> Principal:
    models, of_team = record.models, None if team is None else team.priority_class
    if team is not None and team.models is not None:
        models = frozenset(team.models) if models is None else models.intersection(team.models)
    wanted = (each for each in (record.priority_class, of_team) if each is not None and each in classes)
    # Not validated: what a hand has written into the database must not end the refresh of all other keys.
    quota = Quota.model_construct(rpm=record.rpm, tpm=record.tpm, concurrency=record.concurrency)
    name = next(wanted, STANDARD)
    return Principal(
        key_id=record.id,
        team=record.team,
        scope=record.scope,
        models=models,
        quota=None if quota.limits_nothing else quota,
        team_quota=None if team is None or team.limits_nothing else team,
        priority_class=name,
        priority=classes[name].level,
        weight=1.0 if team is None else team.weight,
        tags=record.tags,
    )


def new_key(random_bytes: Callable[[int], bytes]) -> tuple[str, str, bytes]:
    """(key text, public id, digest) of a new key. The text is shown once and stored nowhere."""
    public, secret = random_bytes(6).hex(), random_bytes(24).hex()
    text = f"sk-tg-{public}-{secret}"
    return text, public, hashlib.sha256(text.encode()).digest()


def authenticate(
    authorization: bytes | None, api_key: bytes | None, keys: Mapping[str, KeyRecord], now: float
) -> Principal:
    """The principal behind `Authorization: Bearer KEY`, or behind `x-api-key: KEY` as Anthropic's clients send it.

    Raises InvalidKey. An unknown key and a wrong secret take the same path and get the same answer.
    """
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        match = _KEY.fullmatch(token.strip()) if scheme.lower() == b"bearer" else None
    elif api_key is not None:
        match = _KEY.fullmatch(api_key.strip())
    else:
        raise InvalidKey(
            "no API key: send the header `Authorization: Bearer sk-tg-…` (`gateway keys create` makes one)"
        )
    if match is None:
        raise InvalidKey(
            "malformed API key: expected `Authorization: Bearer sk-tg-…` or `x-api-key: sk-tg-…`, found something else"
        )
    record = keys.get(match[1].decode())
    stored = _NO_DIGEST if record is None else record.digest
    matches = hmac.compare_digest(hashlib.sha256(match[0]).digest(), stored)
    if record is None or not matches:
        raise InvalidKey("unknown API key: check that it was copied whole, or ask for a new one")
    if refusal := record.refusal(now):
        raise InvalidKey(f"{refusal}: ask for a new one (`gateway keys create`)")
    return record.principal or _principal(record, None, CLASSES)


def still(principal: Principal, keys: Mapping[str, KeyRecord], now: float) -> None:
    """Raise InvalidKey for a key that has ended since it was shown: a body may take ten minutes."""
    record = keys.get(principal.key_id)
    if refusal := "this key is gone" if record is None else record.refusal(now):
        raise InvalidKey(f"{refusal}: ask for a new one (`gateway keys create`)")
