"""The cases in which the rules of a model are tried: every moment that differs for them, with every request.

A set of rules is a whole number here, with a bit for each place: thousands of rules are joined in one step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.policy.inputs import Values, recorded
from gateway.policy.rule_groups import Group
from gateway.policy.rules import Book, Moment
from gateway.settings import conditions
from gateway.settings.conditions import ERRORS


@dataclass(frozen=True)
class Example:
    """A case: when (seconds since the epoch), where, and the request's values."""

    at: float
    region: str
    request: Values


@dataclass(frozen=True)
class Failure:
    """A rule that could not be evaluated in some case."""

    place: int
    rule: str
    message: str
    example: Example


@dataclass
class Seen:
    """A moment, how often it came, and when it first did."""

    moment: Moment
    count: int
    first: float


@dataclass
class Tally:
    """Cases by the set of rules that held: how many, and the first of them. `failures` are by the place of the rule."""

    counts: dict[int, int] = field(default_factory=dict)
    examples: dict[int, Example] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)


@dataclass
class _Kind:
    """Moments at which the rules that read no request hold alike, and the others have the same to read."""

    held: int
    local: tuple[Any, ...]
    seen: Seen
    count: int = 0


class Cases:
    """The moments of one model, and how the cases come out."""

    def __init__(self, book: Book, seen: Sequence[Seen]) -> None:
        self._book = book
        self.tally = Tally()
        of_request = set(book.of_request)
        still = [group for group in book.groups if of_request.isdisjoint(group.reads)]
        self._asked = [
            (group, [name for name in group.reads if name in of_request])
            for group in book.groups
            if not of_request.isdisjoint(group.reads)
        ]
        kinds: dict[Any, _Kind] = {}
        for each in seen:
            held = 1 << (len(book.rules) - 1)
            for group in still:
                held |= self._held(group, each, {})
            local = tuple(self._local(group, each.moment) for group, _ in self._asked)
            kinds.setdefault((held, local), _Kind(held, local, each)).count += each.count
        self._kinds = list(kinds.values())

    @property
    def cost(self) -> int:
        """How often a rule or a group of them is looked at, for each request."""
        return len(self._kinds) * max(1, len(self._asked))

    @property
    def rules(self) -> int:
        """How many rules are evaluated for a request that is new to all of them, at most."""
        return len(self._kinds) * sum(len(group.members) for group, _ in self._asked if group.by is None)

    def try_all(self, requests: Sequence[Values]) -> Tally:
        """Which rules hold, at every moment with every request."""
        known: list[dict[Any, int]] = [{} for _ in self._asked]
        asked = [[tuple(request[name] for name in names) for _, names in self._asked] for request in requests]
        tally = self.tally
        for kind in self._kinds:
            for request, values in zip(requests, asked, strict=True):
                held = kind.held
                for at, key in enumerate(zip(kind.local, values, strict=True)):
                    found = known[at].get(key)
                    if found is None:
                        found = known[at][key] = self._held(self._asked[at][0], kind.seen, request)
                    held |= found
                tally.counts[held] = tally.counts.get(held, 0) + kind.count
                if held not in tally.examples:
                    tally.examples[held] = Example(kind.seen.first, kind.seen.moment.region, recorded(request))
        return tally

    @staticmethod
    def _local(group: Group, moment: Moment) -> tuple[Any, ...]:
        """What a group that reads requests has to read beside them."""
        return (
            moment.span if group.timed else 0,
            *(moment.values[name] for name in group.reads if name in moment.values),
        )

    def _held(self, group: Group, seen: Seen, request: Values) -> int:
        """The rules of a group that hold."""
        values, held, span = {**seen.moment.values, **request}, 0, seen.moment.span
        context = conditions.context({name: values[name] for name in group.reads})
        for member in group.asked(values):
            try:
                if member.holds(context, span):
                    held |= 1 << member.place
            except ERRORS as error:
                rule, message = self._book.rules[member.place].id, f"{type(error).__name__}: {error}"
                example = Example(seen.first, seen.moment.region, recorded(request))
                self.tally.failures.setdefault(member.place, Failure(member.place, rule, message, example))
        return held


def bits(rules: int) -> Iterator[int]:
    """The places in a set of rules."""
    while rules:
        yield (rules & -rules).bit_length() - 1
        rules &= rules - 1
