"""What the rules of a configuration do over years of hours in every region: who wins, who never does, who meets whom.

Each hour of a region's own clock is tried, each moment at which a window or the time of a rule begins or ends, and each
minute that rules which read minutes can tell apart, with the requests of `rule_samples`. What a model's rules cannot
tell apart is tried once and counted as often as it comes. Every rule is asked each time, not only those before the
winner, so that rules that hold together are found.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from gateway.policy.calendar import MINUTE_S, Calendar
from gateway.policy.rule_cases import Cases, Example, Failure, Seen, Tally, bits
from gateway.policy.rule_samples import Samples, exact, samples
from gateway.policy.rules import Book, Rulebook
from gateway.settings import tokens
from gateway.settings.conditions import Condition

HOUR_S = 3600
CELLS = 2_000_000
"""Moments that differ times requests times groups of rules, of all models together.

One model has a hundredth of them at least.
"""
EVALUATIONS = 10_000_000
"""Rules that are evaluated, of all models together, shared in the same way."""
REQUESTS = 20_000
"""Requests that one model is tried with, at most."""
MOMENTS = 160_000
"""Moments within an hour that rules that read minutes are tried at, for each region: as many minutes as that gives."""
LEAST = 8
"""Minutes of an hour that are tried even so."""
MINUTELY = frozenset({"local.minute", "local.minute_of_day"})
PAIRS = 100
"""Pairs of rules that hold together, of one model, that are told one by one."""


@dataclass(frozen=True)
class Dead:
    """A rule that never won. `behind` are rules that won where it held; without any it never held.

    `proven` is whether that is so for every request and every minute, not only for those that were tried.
    """

    rule: str
    behind: tuple[str, ...]
    hint: str | None = None
    proven: bool = True


@dataclass(frozen=True)
class Overlap:
    """Two rules that held at once; the second would have won without the first."""

    winner: str
    other: str
    example: Example


@dataclass(frozen=True)
class Proof:
    """What the rules of one model did. `moments` are those of all regions, `distinct` those that differ for them.

    `wins` count moments times requests, and their sum is that of all: one rule wins each time. `pairs` is the number of
    overlaps, of which `overlaps` has the first ones. `left_out` minutes of an hour were not tried, of those that rules
    may tell apart.
    """

    moments: int
    distinct: int
    samples: Samples
    wins: dict[str, int]
    dead: list[Dead]
    overlaps: list[Overlap]
    pairs: int
    failures: list[Failure]
    left_out: int = 0


def prove(
    rulebook: Rulebook, since: float, until: float, step: Callable[[], None], cells: int = CELLS
) -> dict[str, Proof]:
    """The proof of every model that has rules, from an hour to another. `step` is called `steps(rulebook)` times."""
    seen: dict[str, dict[Any, Seen]] = {model: {} for model in rulebook.books}
    totals, left_out, named = dict.fromkeys(rulebook.books, 0), dict.fromkeys(rulebook.books, 0), set[str]()
    for region, calendar in rulebook.calendars.regions.items() if rulebook.books else ():
        common = [(at, calendar.at(at)) for at in _instants(calendar, since, until)]
        named |= {name for _, local in common for name in local["holidays"]}
        like: dict[Any, _Moments] = {}
        for model, book in rulebook.books.items():
            kind = (tuple(book.of_moment), tuple(book.spans.bounds), tuple(_minutes(book)))
            if kind not in like:
                own = {at for at in kind[1] if since <= at < until}.difference(at for at, _ in common)
                instants = sorted([*common, *((at, calendar.at(at)) for at in own)], key=itemgetter(0))
                like[kind] = _distinct(book, region, instants, until)
            totals[model] += like[kind].count
            seen[model] |= like[kind].seen
            left_out[model] = max(left_out[model], like[kind].left_out)
        step()
    proofs = {}
    for model, book in rulebook.books.items():
        tried = Cases(book, list(seen[model].values()))
        share = max(0.01, 1 / len(rulebook.books))
        most = min(REQUESTS, int(cells * share) // tried.cost, int(EVALUATIONS * share) // max(1, tried.rules))
        requests = samples(model, book, max(1, most))
        proof = _proof(book, tried.try_all(requests.requests), totals[model], len(seen[model]), requests, named)
        dead = [replace(each, proven=_proven(book, each, requests, left_out[model])) for each in proof.dead]
        proofs[model] = replace(proof, dead=dead, left_out=left_out[model])
        step()
    return proofs


def steps(rulebook: Rulebook) -> int:
    """How often `prove` calls its `step`."""
    return len(rulebook.calendars.regions) + len(rulebook.books) if rulebook.books else 0


def _instants(calendar: Calendar, since: float, until: float) -> list[float]:
    """When something begins by the wall clock: every hour, every window, and what comes after one.

    A window is looked at once a minute, so it begins and ends with one.
    """
    years = range(datetime.fromtimestamp(since, UTC).year - 1, datetime.fromtimestamp(until, UTC).year + 2)
    turns = (-(-calendar.instant(wall) // MINUTE_S) * MINUTE_S for year in years for wall in calendar.turns(year))
    return sorted({since, *_hours(calendar, since, until), *(at for at in turns if since <= at < until)})


def _hours(calendar: Calendar, since: float, until: float) -> Iterator[float]:
    """When an hour of the wall clock begins, and when the clock is changed: by half an hour, in some places."""
    begin, offset = since, calendar.offset(since)
    while begin < until:
        end = min(begin + HOUR_S, until)
        after = calendar.offset(end)
        change = end if after == offset else _change(calendar, begin, end)
        if after != offset and change < until:
            yield change
        for first, last, ahead in ((begin, change, offset), (change, end, after)):
            full = first + -(first + ahead) % HOUR_S
            if full < last:
                yield full
        begin, offset = end, after


def _change(calendar: Calendar, begin: float, end: float) -> float:
    """The second between two moments at which the clock is changed."""
    before, low, high = calendar.offset(begin), int(begin), int(end)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if calendar.offset(middle) == before else (low, middle)
    return high


def _minutes(book: Book) -> list[int]:
    """The minutes of an hour at which something may change for rules that read them, those that they name first.

    Between what it compares with, a rule is as it was; one that does something else may be another in each minute.
    """
    named, every = set[int](), False
    for name in MINUTELY.intersection(book.of_moment):
        for member in book.members:
            if member.condition is not None and name in member.condition.reads:
                cuts = member.condition.cuts.get(name)
                every = every or cuts is None
                named |= {cut % 60 for cut in cuts or _literals(member.condition, name)}
    after = ((minute + 1) % 60 for minute in sorted(named))
    return list(dict.fromkeys([*sorted(named), *after, *(range(60) if every else ())]))


def _literals(condition: Condition, name: str) -> Iterator[int]:
    """The whole numbers that a condition has where it reads a member."""
    for reference, names in condition.named():
        if name in names:
            found = map(tokens.whole, tokens.compared(condition.words, reference))
            yield from (each for each in found if each is not None)


@dataclass
class _Part:
    """A time in which a region's local time stays as it is but for its minutes, and how often one like it comes."""

    at: float
    until: float
    local: Mapping[str, Any]
    count: int = 0

    def minutes(self, minutes: Sequence[int]) -> Iterator[tuple[float, dict[str, Any]]]:
        """Those of them that come in it, after its first."""
        first, local = self.at // MINUTE_S * MINUTE_S, self.local
        for more in sorted(minute - local["minute"] for minute in minutes if minute > local["minute"]):
            if first + more * MINUTE_S < self.until:
                moved = {name: local[name] + more for name in ("minute", "minute_of_day")}
                yield first + more * MINUTE_S, {**local, **moved}


@dataclass
class _Moments:
    """The moments of one region that differ for the rules of a model, how many there are, and minutes left out."""

    seen: dict[Any, Seen]
    count: int
    left_out: int


def _distinct(book: Book, region: str, instants: Sequence[tuple[float, Mapping[str, Any]]], until: float) -> _Moments:
    """Parts that rules cannot tell apart are gone through by the minute once."""
    found, parts, count, minutes = dict[Any, Seen](), dict[Any, _Part](), len(instants), _minutes(book)

    def add(at: float, local: Mapping[str, Any], times: int) -> Any:
        moment = book.seen(region, at, local)
        key = (region, moment.span, *moment.values.values())
        found.setdefault(key, Seen(moment, 0, at)).count += times
        return key

    ends = [*(at for at, _ in instants[1:]), until]
    for (at, local), end in zip(instants, ends, strict=True):
        key = add(at, local, 1)
        if minutes:
            parts.setdefault((key, local["minute"], end - at), _Part(at, end, local)).count += 1
    tried = minutes[: max(LEAST, MOMENTS // max(1, len(parts)))]
    for part in parts.values():
        for at, local in part.minutes(tried):
            add(at, local, part.count)
            count += part.count
    return _Moments(found, count, len(minutes) - len(tried))


def _proof(book: Book, tally: Tally, moments: int, distinct: int, tried: Samples, holidays: set[str]) -> Proof:
    ids, wins = [rule.id for rule in book.rules], [0] * len(book.rules)
    behind: dict[int, int] = {}
    overlaps: dict[tuple[int, int], Overlap] = {}
    default = 1 << (len(ids) - 1)
    for held, count in tally.counts.items():
        winner = (held & -held).bit_length() - 1
        wins[winner] += count
        for other in bits((held & ~default) & ~(1 << winner) & ~behind.get(winner, 0)):
            overlaps[winner, other] = Overlap(ids[winner], ids[other], tally.examples[held])
        behind[winner] = behind.get(winner, 0) | held
    lost: dict[int, list[str]] = {at: [] for at, won in enumerate(wins) if not won}
    never = sum(1 << at for at in lost)
    for winner in sorted(behind):
        for at in bits(behind[winner] & never):
            lost[at].append(ids[winner])
    dead = [Dead(ids[at], tuple(winners), _hint(book, at, holidays)) for at, winners in lost.items()]
    return Proof(
        moments=moments,
        distinct=distinct,
        samples=tried,
        wins=dict(zip(ids, wins, strict=True)),
        dead=dead,
        overlaps=[overlaps[pair] for pair in sorted(overlaps)][:PAIRS],
        pairs=len(overlaps),
        failures=[tally.failures[at] for at in sorted(tally.failures)],
    )


def _proven(book: Book, dead: Dead, tried: Samples, left_out: int) -> bool:
    """Whether what was tried stands for all: for the rule alone where it never holds, else for those before it too."""
    place = next(at for at, rule in enumerate(book.rules) if rule.id == dead.rule)
    asked = [each.condition for each in book.members[0 if dead.behind else place : place + 1]]
    return tried.whole and all(_exact(each, left_out) for each in asked if each is not None)


def _exact(condition: Condition, left_out: int) -> bool:
    """Whether no moment and no request that was not tried makes another of it. `now` is tried at some moments only."""
    if "now" in condition.reads or (left_out and not MINUTELY.isdisjoint(condition.reads)):
        return False
    return exact(condition)


def _hint(book: Book, place: int, holidays: set[str]) -> str | None:
    """Why a rule never holds, where it names a holiday that there is not."""
    condition = book.members[place].condition
    for reference, names in [] if condition is None else condition.named():
        if (
            condition is None
            or names != ["local.holidays"]
            or tokens.word(condition.words, reference.start - 1) != "in"
        ):
            continue
        text = tokens.plain(condition.words[reference.start - 2])
        if text is not None and text not in holidays:
            near = difflib.get_close_matches(text, holidays, n=1, cutoff=0.4)
            also = f": did you mean {near[0]!r}?" if near else ""
            return f"no region has a holiday {text!r} in this time{also}"
    return None
