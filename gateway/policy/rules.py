"""Which rule of a model wins: the first whose time it is and whose condition holds; the last one always does.

However many rules there are, a request asks one dictionary: what the model's conditions read decides, so what was
decided once is remembered by it. What is new is looked up in parts. Rules that read the same members are one group,
which remembers what it found for its own few values: a new minute, or a new header, puts the question only to the
conditions that read it. And rules that hold only where a member is some text (`key.team == "a" && …`) are asked only
where it is that text.

A condition that cannot be evaluated does not hold. The decision names the rules that this happened to before one won.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.config import GatewayConfig
from gateway.contracts.errors import InputError
from gateway.policy import inputs as facts
from gateway.policy.auth import Principal
from gateway.policy.calendar import MINUTE_S, Calendars
from gateway.policy.inputs import WIDE, Header, Reader, Values
from gateway.policy.rule_groups import Member, Memory, Spans, grouped
from gateway.policy.shapes import Request
from gateway.settings import conditions
from gateway.settings.conditions import ERRORS
from gateway.settings.rules import RuleConfig

REMEMBERED = 65_536
"""Decisions that a rulebook remembers, and answers of its groups; each model and each group at least `AT_LEAST`."""
AT_LEAST = 64
SINCE = "since"
"""The input that says which rules had their time: the last `from` or `until` that had passed."""
_encode = msgspec.json.Encoder().encode


class Ruled(msgspec.Struct, frozen=True, array_like=True):
    """A rule of a model that won: its id, the release that it picked, and the values that the model's rules read."""

    model: str
    rule: str
    release: str
    region: str
    inputs: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule that won and the release that it names (`live`: the one that serves by promotion).

    `inputs` are the values that the model's rules read, as JSON has them: `Rulebook.replay` decides the same from them.
    `errors` are the rules before this one that could not be evaluated. `ruled` is the JSON of a `Ruled`, for the
    ledger: written once, since most requests get a decision that is remembered; None where none was asked for.
    """

    rule: str
    release: str
    region: str
    inputs: Values
    errors: tuple[str, ...] = ()
    ruled: msgspec.Raw | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """A rule by itself, for some inputs: whether it holds, and if not, whether it has its time, or what went wrong."""

    rule: RuleConfig
    holds: bool
    in_time: bool = True
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """What the rules of a model see of a region, until something of it changes. Its number is its own."""

    number: int
    region: str
    span: int
    values: dict[str, Any]


NEVER = (math.inf, -math.inf, Moment(-1, "", 0, {}))
"""From when until when what is what; before a region was ever looked at."""


class Book:
    """The rules of one model. `on_error` hears (model, rule) of each that could not be evaluated."""

    def __init__(
        self,
        model: str,
        rules: Sequence[RuleConfig],
        headers: tuple[str, ...],
        calendars: Calendars,
        on_error: Callable[[str, str], None],
    ) -> None:
        self.model = model
        self.rules = rules
        self.spans = Spans(rules)
        compiled = (None if rule.when is None else conditions.condition(rule.when, headers) for rule in rules)
        spans = map(self.spans.of, rules)
        self.members = [Member(at, each, *span) for at, (each, span) in enumerate(zip(compiled, spans, strict=True))]
        self.groups = grouped(self.members[:-1])
        reads = sorted({name for group in self.groups for name in group.reads})
        self._reader = Reader(name for name in reads if name.startswith(("req.", "key.", "headers.")))
        self.of_request = self._reader.names
        self.of_moment = [name for name in reads if name not in self.of_request]
        self._wide = not WIDE.isdisjoint(reads)
        self._read = self._reader.read
        self._calendars = calendars
        self._default, self._names_region = calendars.default, calendars.header
        self._on_error = on_error
        self._numbers = itertools.count()
        self._now = dict.fromkeys(calendars.regions, NEVER)
        self._decisions, self._moments = Memory[Decision](AT_LEAST), Memory[Moment](AT_LEAST)

    def remember(self, decisions: int, answers: int) -> None:
        """How many decisions it may remember, and how many answers each of its groups."""
        self._decisions, self._moments = Memory(decisions), Memory(decisions)
        for group in self.groups:
            group.remember(answers)

    def decide(self, request: Request, principal: Principal, header: Header, now: float) -> Decision:
        """The decision for a request."""
        region, names_region = self._default, self._names_region
        if names_region is not None:
            region = self._calendars.region(header(names_region))
        since, until, moment = self._now[region]
        if not since <= now < until:
            moment = self._turn(region, now)
        read = self._read(moment.number, request, principal, header)
        try:
            found = self._decisions.newest[read]
        except KeyError:
            found = self._recalled(moment, read)
        for rule in found.errors:
            self._on_error(self.model, rule)
        return found

    def seen(self, region: str, now: float, local: Mapping[str, Any]) -> Moment:
        """What its rules see of a region whose local time is given, remembered nowhere."""
        minute = now // MINUTE_S * MINUTE_S
        values = {name: self._seen(name, region, minute, local) for name in self.of_moment}
        return Moment(-1, region, bisect_right(self.spans.bounds, now), values)

    def settle(self, region: str, span: int, values: Values) -> Decision:
        """The decision for the values of everything that its rules read."""
        winner, failed = len(self.rules) - 1, list[int]()
        for group in self.groups:
            place, erred = group.first(values, span)
            winner = winner if place is None else min(winner, place)
            failed += erred
        told = {"region": region, **facts.recorded(values)}
        if self.spans.bounds:
            told[SINCE] = self.since(span)
        rule = self.rules[winner]
        errors = tuple(self.rules[place].id for place in sorted(failed) if place < winner)
        return Decision(rule.id, rule.release, region, told, errors)

    def since(self, span: int) -> str | None:
        """When a span began; None for the one before all."""
        return datetime.fromtimestamp(self.spans.bounds[span - 1], UTC).isoformat() if span else None

    def read_back(self, inputs: Values) -> tuple[int, dict[str, Any]]:
        """The span and the values of what was recorded. Raises InputError when something is not there."""
        needed = {*self.of_moment, *self.of_request, "region", *([SINCE] if self.spans.bounds else [])}
        if missing := sorted(needed - inputs.keys()):
            raise InputError(f"the rules read what was not recorded: {', '.join(missing)}; they are other rules by now")
        since = inputs.get(SINCE)
        span = 0 if since is None else bisect_right(self.spans.bounds, datetime.fromisoformat(since).timestamp())
        return span, {name: facts.read_back(name, inputs[name]) for name in (*self.of_moment, *self.of_request)}

    def _recalled(self, moment: Moment, read: tuple[Hashable, ...]) -> Decision:
        """What is not among the newest decisions: remembered for longer, or decided now."""
        if self._wide:
            return self._decide(moment, read)
        found = self._decisions.recall(read)
        if found is None:
            found = self._decide(moment, read)
            self._decisions.keep(read, found)
        return found

    def _decide(self, moment: Moment, read: Sequence[Any]) -> Decision:
        asked = zip(self.of_request, self._reader.values(read), strict=True)
        made = self.settle(moment.region, moment.span, {**moment.values, **dict(asked)})
        ruled = Ruled(self.model, made.rule, made.release, made.region, made.inputs)
        return replace(made, ruled=msgspec.Raw(_encode(ruled)))

    def _turn(self, region: str, now: float) -> Moment:
        """Look at the clock and the calendar anew. What is as it was before is the same moment."""
        bounds, minute = self.spans.bounds, now // MINUTE_S * MINUTE_S
        span = bisect_right(bounds, now)
        local = self._calendars.at(region, now)
        values = {name: self._seen(name, region, minute, local) for name in self.of_moment}
        key = (region, span, *values.values())
        moment = self._moments.recall(key)
        if moment is None:
            moment = Moment(next(self._numbers), region, span, values)
            self._moments.keep(key, moment)
        since = max(minute, bounds[span - 1]) if span else minute
        until = min(minute + MINUTE_S, bounds[span]) if span < len(bounds) else minute + MINUTE_S
        self._now[region] = since, until, moment
        return moment

    @staticmethod
    def _seen(name: str, region: str, minute: float, local: Mapping[str, Any]) -> Any:
        if name == "region":
            return region
        return datetime.fromtimestamp(minute, UTC) if name == "now" else local[name.removeprefix("local.")]


class Rulebook:
    """The rules of all models, compiled once. `on_error` hears (model, rule) of each that could not be evaluated."""

    def __init__(self, config: GatewayConfig, on_error: Callable[[str, str], None] = lambda _, __: None) -> None:
        self.calendars = Calendars(config.regions, config.windows, config.seasons)
        self.books = {
            name: Book(name, model.rules, config.headers, self.calendars, on_error)
            for name, model in config.models.items()
            if model.rules
        }
        groups = sum(len(book.groups) for book in self.books.values())
        for book in self.books.values():
            book.remember(max(AT_LEAST, REMEMBERED // len(self.books)), max(AT_LEAST, REMEMBERED // max(1, groups)))

    def prepare(self, now: float) -> None:
        """Work out the years that are near, so that no request waits for it."""
        if self.books:
            self.calendars.prepare(now)

    def decide(self, model: str, request: Request, principal: Principal, header: Header, now: float) -> Decision | None:
        """The decision of a model's rules; None for a model without rules."""
        book = self.books.get(model)
        return None if book is None else book.decide(request, principal, header, now)

    def replay(self, model: str, inputs: Values) -> Decision:
        """The decision for inputs as a decision has them, whether or not they went through JSON.

        Raises InputError for a model without rules, and for rules that read what was not recorded.
        """
        book = self._book(model)
        span, values = book.read_back(inputs)
        return book.settle(inputs["region"], span, values)

    def explain(self, model: str, inputs: Values) -> list[Step]:
        """Every rule of a model by itself, in order. Raises InputError as `replay` does."""
        book = self._book(model)
        span, values = book.read_back(inputs)
        context, steps = conditions.context(values), []
        for rule, member in zip(book.rules, book.members, strict=True):
            in_time = member.since <= span < member.until
            try:
                steps.append(Step(rule, member.holds(context, span), in_time))
            except ERRORS as error:
                steps.append(Step(rule, False, in_time, f"{type(error).__name__}: {error}"))
        return steps

    def _book(self, model: str) -> Book:
        if model not in self.books:
            raise InputError(f"the model {model!r} has no rules; those that have are {', '.join(sorted(self.books))}")
        return self.books[model]
