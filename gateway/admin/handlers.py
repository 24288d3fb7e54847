"""The handlers of the admin API. Each calls what the command of that name calls."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Path, Query, Request

from gateway import __version__, changes
from gateway.admin import budgets, keys, replicas, requests
from gateway.admin.answers import KeyChange, KeyId, Keys, NewKey, Period, Promotion, Text
from gateway.admin.costs import Asked
from gateway.admin.errors import GateClosed, NotThere, StoreAway
from gateway.admin.house import House
from gateway.admin.releases import listed, state_of
from gateway.contracts.errors import InvalidRequest, ReleaseNotGated
from gateway.control_plane import usage
from gateway.control_plane.usage import Wanted
from gateway.costs import closing, fleet
from gateway.policy.auth import KeyRecord
from gateway.policy.rules import Rulebook
from gateway.settings import tags as tagging
from gateway.settings.limits import Quota
from gateway.stores.budget_book import BookAway
from gateway.stores.cost_lines import DIMENSIONS

DAY_S = 86_400.0
USAGE_BY = (*usage.BY, "team", "key")
WHOSE = ("team", "key", "model")

AKey = Annotated[KeyId, Path()]


@dataclass(frozen=True)
class Handlers:
    """One for each page."""

    house: House

    async def keys(self, asked: Annotated[Keys, Query()]) -> Any:
        """Keys, never their secrets."""
        records = [
            each for each in await self.house.work(self.house.stores.keys.all) if asked.team in (None, each.team)
        ]
        if asked.after is not None:
            ids = [each.id for each in records]
            if asked.after not in ids:
                raise NotThere(f"no key with the id {asked.after!r} among these", param="after")
            records = records[ids.index(asked.after) + 1 :]
        now, page = self.house.clock(), records[: asked.limit]
        return {"data": [keys.shown(each, now) for each in page], "has_more": len(records) > len(page)}

    async def key(self, key_id: AKey) -> Any:
        """One of them."""
        return keys.shown(await self._key(key_id), self.house.clock())

    async def create_key(self, wanted: NewKey, request: Request) -> Any:
        """Make a key. It is shown this once and stored nowhere."""
        house, now = self.house, self.house.clock()
        keys.require(house.deployment().config, wanted.models, wanted.priority_class)
        text, record = await house.work(
            lambda: house.stores.keys.create(
                name=wanted.name,
                team=wanted.team,
                scope=wanted.scope,
                models=wanted.models,
                now=now,
                ttl_s=None if wanted.days is None else wanted.days * DAY_S,
                random_bytes=os.urandom,
                quota=Quota(rpm=wanted.rpm, tpm=wanted.tpm, concurrency=wanted.concurrency),
                priority_class=wanted.priority_class,
                tags=tagging.encode(wanted.tags or {}),
            )
        )
        request.state.done = f"made the key {record.id} of the team {record.team!r}, scope {record.scope}"
        return {**keys.shown(record, now), "key": text}

    async def change_key(self, key_id: AKey, change: KeyChange, request: Request) -> Any:
        """Set or lift limits and tags of a key. Running gateways follow within a second."""
        asked: dict[str, Any] = {name: getattr(change, name) for name in change.model_fields_set}
        keys.require(self.house.deployment().config, None, asked.get("priority_class"))
        if "tags" in asked:
            asked["tags"] = tagging.encode(asked["tags"] or {})
        await self._key(key_id)
        record = await self.house.work(lambda: self.house.stores.keys.update(key_id, asked))
        request.state.done = f"changed {', '.join(sorted(asked)) or 'nothing'} of the key {key_id}"
        return keys.shown(record, self.house.clock())

    async def revoke_key(self, key_id: AKey, request: Request) -> Any:
        """End a key. Running gateways refuse it within a second."""
        await self._key(key_id)
        await self.house.work(lambda: self.house.stores.keys.revoke(key_id, self.house.clock()))
        request.state.done = f"revoked the key {key_id}"
        return await self.key(key_id)

    async def _key(self, key_id: str) -> KeyRecord:
        for each in await self.house.work(self.house.stores.keys.all):
            if each.id == key_id:
                return each
        raise NotThere(f"no key with the id {key_id!r}: GET /v1/keys lists them", param="key_id")

    async def releases(self) -> Any:
        """Every release, its verdict, and which one is live."""
        return {"data": await self.house.work(self._releases)}

    def _releases(self) -> list[dict[str, Any]]:
        deployment, house = self.house.deployment(), self.house
        return listed(deployment, state_of(deployment, house.stores, house.clock), house.clock())

    async def promote(self, wanted: Promotion, request: Request) -> Any:
        """Make a release the live one of its model, when its gate is open. Running gateways follow within a second."""
        deployment, house = self.house.deployment(), self.house
        if wanted.release not in deployment.releases:
            known = ", ".join(sorted(deployment.releases))
            raise NotThere(f"no release {wanted.release!r} in this configuration: it has {known}", param="release")
        try:
            await house.work(lambda: state_of(deployment, house.stores, house.clock).promote(wanted.release))
        except ReleaseNotGated as error:
            raise GateClosed(error.message, param="release") from error
        (found,) = (each for each in await house.work(self._releases) if each["release"] == wanted.release)
        request.state.done = f"promoted {wanted.release!r} ({found['digest']})"
        return found

    async def budgets(self) -> Any:
        """What each budget has left, and when it resets."""
        house, now = self.house, self.house.clock()
        made = budgets.budgets_of(house.deployment(), now)
        if made is None:
            return {"data": []}
        found = await house.work(lambda: budgets.spent(made, house.stores.spend, now))
        try:
            held = await budgets.held(house.book, [counter for counter, _ in found])
        except BookAway as error:
            raise StoreAway(f"budgets cannot be asked for now: {error}", retry_after=1) from error
        return {"data": budgets.values(found, held, made.currency)}

    async def usage(self, asked: Annotated[Period, Query()]) -> Any:
        """What was used, as a key sees it of itself: of all keys, or of those that are chosen."""
        wanted, where = self._wanted(asked, USAGE_BY, "day,model"), _where(asked)
        lines, total = self.house.stores.costs.lines, list[Any]()

        def read() -> list[Any]:
            total.extend(lines((), wanted.since, wanted.until, where))
            return list(lines(wanted.by, wanted.since, wanted.until, where))

        found = usage.answer("", wanted, await self.house.work(read), total[0])
        return {"where": where, **{name: value for name, value in found.items() if name != "key"}}

    async def costs(self, asked: Annotated[Period, Query()]) -> Any:
        """What was used and what it cost, as `gateway costs --json` reports it. Closes no hour."""
        house, now = self.house, self.house.clock()
        wanted, where = self._wanted(asked, tuple(DIMENSIONS), "team,model"), _where(asked)

        def read() -> dict[str, Any]:
            books = closing.provisional(house.stores, now, fleet.engines(house.deployment().config))
            return Asked(house.stores, wanted.by, where, wanted.since, wanted.until, now, books).document()

        found = await house.work(read)
        if len(found["rows"]) > usage.MOST_LINES:
            raise InvalidRequest(f"more than {usage.MOST_LINES} rows: ask for less, or by less", param="by")
        return {"since": keys.moment(wanted.since), "until": keys.moment(wanted.until), **found}

    def _wanted(self, asked: Period, known: Sequence[str], usual: str) -> Wanted:
        given = [(name, value) for name in usage.PARAMETERS if (value := getattr(asked, name)) is not None]
        return usage.wanted(given, self.house.clock(), known, usual)

    async def replicas(self) -> Any:
        """Health, requests in flight and breaker of every replica, over all workers."""
        return {"data": await self.house.work(lambda: replicas.standings(self.house.deployment(), self.house.page()))}

    async def config(self) -> Any:
        """The configuration that serves, by its digest, and why what is written now does not."""
        refusal = self.house.reloads.refusal
        digest = await self.house.work(lambda: changes.digest(self.house.deployment()))
        told = None if refusal is None else {"at": keys.moment(refusal.at), "reason": refusal.reason}
        return {"version": __version__, "config_digest": digest, "refusal": told}

    async def reload(self, request: Request) -> Any:
        """Read the configuration now, as SIGHUP does. What does not validate changes nothing, and is told."""
        await self.house.reloads.now()
        found = await self.config()
        request.state.done = f"read the configuration: {found['config_digest']} serves"
        if found["refusal"] is not None:
            request.state.done += ", and what is written is refused"
        return found

    async def request(self, request_id: Annotated[Text, Path()]) -> Any:
        """How a request of the ledger was decided, and whether the same inputs come to the same now."""
        return await self.house.work(lambda: self._explained(request_id))

    def _explained(self, request_id: str) -> dict[str, Any]:
        values = self.house.stores.ledger.find(request_id)
        if values is None:
            told = f"no request {request_id[:64]!r} in this ledger: a request is there once it has ended"
            raise NotThere(told, param="request_id")
        deployment = self.house.deployment()
        found = requests.again(values, Rulebook(deployment.config), changes.digest(deployment))
        return requests.as_json(found)


def _where(asked: Period) -> dict[str, str]:
    return {name: value for name in WHOSE if (value := getattr(asked, name)) is not None}
