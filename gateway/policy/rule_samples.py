"""Requests to try the rules of a model with: what its conditions compare with, and something that is none of it.

No random choice: the same rules are tried with the same requests, in the same order.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.policy.inputs import Values
from gateway.policy.rules import Book
from gateway.settings import conditions, tokens
from gateway.settings.conditions import Condition

OTHER = "(other)"
"""A text that no rule names."""
OF_A_RULE = 64
"""Requests that are made for one rule, where all combinations would be too many."""


@dataclass(frozen=True)
class Samples:
    """`requests` hold values by their dotted names; `tried` are the values of each member, `of` says out of how many.

    `whole` is true where the requests are all combinations of these values.
    """

    tried: dict[str, list[Any]]
    requests: Sequence[Values]
    of: int
    whole: bool


def samples(model: str, book: Book, most: int) -> Samples:
    """At most `most` requests for the rules of a model."""
    found = [({}, None) if each.condition is None else (_of(each.condition, book), each) for each in book.members]
    tried = {name: list(dict.fromkeys([_usual(name, model), *_others(name)])) for name in book.of_request}
    for values, _ in found:
        for name, several in values.items():
            tried[name] = list(dict.fromkeys([*tried[name], *several]))
    count = 1
    for several in tried.values():
        count *= len(several)
    if count <= most:
        every = [dict(zip(tried, each, strict=True)) for each in itertools.product(*tried.values())]
        return Samples(tried, every, count, True)
    usual = {name: several[0] for name, several in tried.items()}
    of_rules = [itertools.islice(_combined(values, usual), OF_A_RULE) for values, each in found if each is not None]
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*of_rules))
    distinct = {tuple(each.values()): each for each in itertools.chain([usual], filter(None, rounds))}
    return Samples(tried, list(itertools.islice(distinct.values(), most)), count, False)


def exact(condition: Condition) -> bool:
    """Whether some value that is tried stands for any that its members may have: it only compares them.

    Of a member without `OTHER` among its values this is not said: what nothing names is not tried there.
    """
    read = ((each, name) for each, names in condition.named() for name in names)
    return all(_exact(condition, each, name) for each, name in read if name.startswith(("req.", "key.", "headers.")))


def _exact(condition: Condition, reference: tokens.Reference, name: str) -> bool:
    if reference.member is None:
        return False
    if name == "req.stream":
        return True
    if isinstance(conditions.sample(()).get(name, ""), int):
        return tokens.cut(condition.words, reference) is not None
    return OTHER in (_usual(name, ""), *_others(name)) and tokens.among(condition.words, reference)


def _combined(values: dict[str, list[Any]], usual: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The combinations of one rule's own values, with each of its members also as it usually is."""
    several = [[*own, usual[name], *_others(name)] for name, own in values.items()]
    for each in itertools.product(*several):
        yield {**usual, **dict(zip(values, each, strict=True))}


def _usual(name: str, model: str) -> Any:
    if name == "req.model":
        return model
    value = conditions.sample(()).get(name, "")
    return OTHER if name in ("key.team", "key.id") else value


def _others(name: str) -> Sequence[Any]:
    if name == "req.stream":
        return (False, True)
    if name == "key.scope":
        return ("serve", "evaluate")
    return (OTHER,) if name.startswith("headers.") else ()


def _of(condition: Condition, book: Book) -> dict[str, list[Any]]:
    """The values that one condition compares its members with."""
    found: dict[str, list[Any]] = {}
    for reference, names in condition.named():
        literals = tokens.compared(condition.words, reference)
        for name in names:
            if name in book.of_request:
                kind = type(conditions.sample(()).get(name, ""))
                found.setdefault(name, []).extend(_values(kind, literals))
    return {name: list(dict.fromkeys(several)) for name, several in found.items()}


def _values(kind: type, literals: Sequence[tokens.Token]) -> Iterator[Any]:
    """Texts as they are, and numbers with their neighbours, since `<` and `<=` differ there alone."""
    if kind is bool:
        yield from (True, False)
        return
    for literal in literals:
        text, number = tokens.plain(literal), tokens.whole(literal)
        if kind is str and text is not None:
            yield text
        elif number is not None:
            yield from (str(each) if kind is str else each for each in (number, number + 1, number - 1))
