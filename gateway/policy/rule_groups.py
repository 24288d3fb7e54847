"""Rules of a model that read the same members: the first of them that holds, remembered by what they read."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from gateway.policy.inputs import WIDE, Values
from gateway.settings import conditions
from gateway.settings.conditions import ERRORS, Condition, Context
from gateway.settings.rules import RuleConfig

ENDLESS = 2**62
"""The span before which a rule without `until` ends."""
First = tuple[int | None, tuple[int, ...]]
"""The place of the first rule that holds, and of those before it that could not be evaluated."""


Found = TypeVar("Found")


class Memory(Generic[Found]):
    """What was found for a key, of `most` keys at most: of the half of them that was asked for last, all.

    They are in two dictionaries. What is asked for is in the `newest` one, or comes into it, and when that has its half
    the older one goes: so a key that is there costs one look, and nothing has to be moved.
    """

    def __init__(self, most: int) -> None:
        self._half = max(1, most // 2)
        self.newest: dict[Hashable, Found] = {}
        self._older: dict[Hashable, Found] = {}

    def __len__(self) -> int:
        return len(self.newest) + sum(key not in self.newest for key in self._older)

    def recall(self, key: Hashable) -> Found | None:
        """None for what is not known."""
        found = self.newest.get(key)
        if found is None and (found := self._older.get(key)) is not None:
            self.keep(key, found)
        return found

    def keep(self, key: Hashable, found: Found) -> None:
        """Remember it, and forget those that were not asked for longest where there are too many."""
        if len(self.newest) >= self._half:
            self.newest, self._older = {}, self.newest
        self.newest[key] = found


class Spans:
    """The times between the `from` and `until` of a model's rules, numbered: in each the same rules have their time."""

    def __init__(self, rules: Sequence[RuleConfig]) -> None:
        named = (each for rule in rules for each in (rule.from_, rule.until) if each is not None)
        self.bounds = sorted({each.timestamp() for each in named})
        self._after = {bound: number for number, bound in enumerate(self.bounds, 1)}

    def of(self, rule: RuleConfig) -> tuple[int, int]:
        """The first span of a rule, and the first that is not its own any more."""
        return self._number(rule.from_, 0), self._number(rule.until, ENDLESS)

    def _number(self, moment: datetime | None, default: int) -> int:
        return default if moment is None else self._after[moment.timestamp()]


@dataclass(frozen=True, slots=True)
class Member:
    """A rule in a group. `since` and `until` are spans; without a condition it holds in its time."""

    place: int
    condition: Condition | None
    since: int
    until: int

    def holds(self, context: Context, span: int) -> bool:
        """Raises one of settings.conditions.ERRORS."""
        return self.since <= span < self.until and (self.condition is None or self.condition.holds(context))


class Group:
    """Rules that read the same members, in their order.

    With `by`, each of them holds only where that member is one of some texts, and `buckets` has them by text.
    """

    def __init__(self, reads: Sequence[str], by: str | None, timed: bool) -> None:
        self.reads = tuple(reads)
        self.by = by
        self.timed = timed
        self.members: list[Member] = []
        self.buckets: dict[str, list[Member]] = defaultdict(list)
        self.memory: Memory[First] | None = None
        self._keys: list[tuple[str, list[int] | None]] = []

    def remember(self, most: int) -> None:
        """How many answers it may remember. Called once its members are there."""
        cuts = [{} if each.condition is None else each.condition.cuts for each in self.members]
        self._keys = [(name, _merged([each.get(name) for each in cuts])) for name in self.reads]
        self.memory = None if any(name in WIDE and among is None for name, among in self._keys) else Memory(most)

    def first(self, values: Values, span: int) -> First:
        """The first that holds, for the values of its members."""
        if self.memory is None:
            return self._first(values, span)
        key = (
            span if self.timed else 0,
            *[
                values[name] if among is None else bisect_left(among, values[name]) + bisect_right(among, values[name])
                for name, among in self._keys
            ],
        )
        found = self.memory.recall(key)
        if found is None:
            found = self._first(values, span)
            self.memory.keep(key, found)
        return found

    def asked(self, values: Values) -> Sequence[Member]:
        """Those of its rules that may hold; the others do not, and do not fail either."""
        return self.members if self.by is None else self.buckets.get(values[self.by], ())

    def _first(self, values: Values, span: int) -> First:
        members, failed = self.asked(values), list[int]()
        if members:
            context = conditions.context({name: values[name] for name in self.reads})
            for member in members:
                try:
                    if member.holds(context, span):
                        return member.place, tuple(failed)
                except ERRORS:
                    failed.append(member.place)
        return None, tuple(failed)


def grouped(rules: Sequence[Member]) -> list[Group]:
    """The rules in groups. Of several guards the one that tells most rules apart is taken."""
    texts = Counter(name for name, _ in {pair for rule in rules for pair in _pairs(rule)})
    groups: dict[Hashable, Group] = {}
    for rule in rules:
        guards = [] if rule.condition is None else rule.condition.guards
        by, wanted = max(guards, key=lambda guard: texts[guard[0]], default=(None, frozenset[str]()))
        reads = () if rule.condition is None else sorted(rule.condition.reads)
        timed = (rule.since, rule.until) != (0, ENDLESS)
        key = (tuple(reads), by, timed)
        group = groups.setdefault(key, Group(reads, by, timed))
        group.members.append(rule)
        for text in wanted:
            group.buckets[text].append(rule)
    return list(groups.values())


def _merged(cuts: Sequence[frozenset[int] | None]) -> list[int] | None:
    """The numbers that all rules together cut a member's values at; None where one does more than compare."""
    found = set[int]()
    for each in cuts:
        if each is None:
            return None
        found |= each
    return sorted(found)


def _pairs(rule: Member) -> Iterator[tuple[str, str]]:
    for name, texts in [] if rule.condition is None else rule.condition.guards:
        yield from ((name, text) for text in texts)
