"""What the rules of a configuration do over years of hours in every region: who wins, who never does, who meets whom.

Each hour is tried, and each moment at which a window or the time of a rule begins or ends, with the requests of
`rule_samples`. What a model's rules cannot tell apart is tried once and counted as often as it comes. Every rule is
asked each time, not only those before the winner, so that rules that hold together are found.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.policy.calendar import MINUTE_S, Calendar
from gateway.policy.rule_cases import Cases, Example, Failure, Seen, Tally, bits
from gateway.policy.rule_samples import Samples, samples
from gateway.policy.rules import Book, Rulebook
from gateway.settings import tokens

HOUR_S = 3600
CELLS = 2_000_000
"""Moments that differ times requests times groups of rules, of all models together.

One model has a hundredth of them at least.
"""
EVALUATIONS = 10_000_000
"""Rules that are evaluated, of all models together, shared in the same way."""
REQUESTS = 20_000
"""Requests that one model is tried with, at most."""
MINUTES = 8
"""Minutes of an hour that are tried for rules that read them, at most."""
PAIRS = 100
"""Pairs of rules that hold together, of one model, that are told one by one."""


@dataclass(frozen=True)
class Dead:
    """A rule that never won. `behind` are rules that won where it held; without any it never held."""

    rule: str
    behind: tuple[str, ...]
    hint: str | None = None


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
    overlaps, of which `overlaps` has the first ones.
    """

    moments: int
    distinct: int
    samples: Samples
    wins: dict[str, int]
    dead: list[Dead]
    overlaps: list[Overlap]
    pairs: int
    failures: list[Failure]


def prove(
    rulebook: Rulebook, since: float, until: float, step: Callable[[], None], cells: int = CELLS
) -> dict[str, Proof]:
    """The proof of every model that has rules, from an hour to another. `step` is called `steps(rulebook)` times."""
    seen: dict[str, dict[Any, Seen]] = {model: {} for model in rulebook.books}
    totals, named = dict.fromkeys(rulebook.books, 0), set[str]()
    for region, calendar in rulebook.calendars.regions.items() if rulebook.books else ():
        common = [(at, calendar.at(at)) for at in _instants(calendar, since, until)]
        named |= {name for _, local in common for name in local["holidays"]}
        like: dict[Any, tuple[int, dict[Any, Seen]]] = {}
        for model, book in rulebook.books.items():
            kind = (tuple(book.of_moment), tuple(book.spans.bounds), tuple(_minutes(book)))
            if kind not in like:
                own = set(_own_instants(kind[1], kind[2], since, until)).difference(at for at, _ in common)
                extra = [(at, calendar.at(at)) for at in sorted(own)]
                like[kind] = len(common) + len(extra), _distinct(book, region, [*common, *extra])
            totals[model] += like[kind][0]
            seen[model] |= like[kind][1]
        step()
    proofs = {}
    for model, book in rulebook.books.items():
        tried = Cases(book, list(seen[model].values()))
        share = max(0.01, 1 / len(rulebook.books))
        most = min(REQUESTS, int(cells * share) // tried.cost, int(EVALUATIONS * share) // max(1, tried.rules))
        requests = samples(model, book, max(1, most))
        proofs[model] = _proof(book, tried.try_all(requests.requests), totals[model], len(seen[model]), requests, named)
        step()
    return proofs


def steps(rulebook: Rulebook) -> int:
    """How often `prove` calls its `step`."""
    return len(rulebook.calendars.regions) + len(rulebook.books) if rulebook.books else 0


def _instants(calendar: Calendar, since: float, until: float) -> list[float]:
    """Every hour, and the beginning and the end of every window."""
    first = since // HOUR_S * HOUR_S
    found = {first + hour * HOUR_S for hour in range(int(until - first) // HOUR_S)}
    years = range(datetime.fromtimestamp(since, UTC).year - 1, datetime.fromtimestamp(until, UTC).year + 2)
    turns = (calendar.instant(wall) for year in years for wall in calendar.turns(year))
    return sorted(found | {at for at in turns if since <= at < until})


def _minutes(book: Book) -> list[int]:
    """The minutes of an hour that rules tell apart, where they read them."""
    minutes = set[int]()
    for name in {"local.minute", "local.minute_of_day"}.intersection(book.of_moment):
        for member in book.members:
            if member.condition is not None and name in member.condition.reads:
                cuts = member.condition.cuts.get(name, frozenset({15, 30, 45}))
                minutes |= {(cut + near) % 60 for cut in cuts for near in (-1, 0, 1)}
    return sorted(minutes)[:MINUTES]


def _own_instants(bounds: Sequence[float], minutes: Sequence[int], since: float, until: float) -> Iterator[float]:
    """When rules begin and end to have their time, and minutes of every hour."""
    yield from (at for at in bounds if since <= at < until)
    first = since // HOUR_S * HOUR_S
    for hour in range(int(until - first) // HOUR_S):
        yield from (first + hour * HOUR_S + minute * MINUTE_S for minute in minutes)


def _distinct(book: Book, region: str, instants: Sequence[tuple[float, Mapping[str, Any]]]) -> dict[Any, Seen]:
    found: dict[Any, Seen] = {}
    for at, local in instants:
        moment = book.seen(region, at, local)
        key = (region, moment.span, *moment.values.values())
        if key in found:
            found[key].count += 1
        else:
            found[key] = Seen(moment, 1, at)
    return found


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
