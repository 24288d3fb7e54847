"""Holidays of a country and its subdivision, of every category that the package `holidays` knows.

The package is loaded on first use: it takes longer than a command that needs no calendar. Of its countries only those
that are asked for are loaded: all of them take 8 MB.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from importlib.util import find_spec, module_from_spec
from typing import Any

COUNTRIES = "holidays.countries"


def mistakes(
    country: str | None, subdivision: str | None, categories: Sequence[str], language: str | None
) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it) of a calendar's choice; nothing when `in_year` can answer for it."""
    if country is None:
        named = {"subdivision": subdivision, "language": language}
        for key, value in named.items():
            if value is not None:
                yield key, f"{value!r} says nothing without a `country`"
        return
    entity = _entity(country)
    if entity is None:
        yield "country", f"no holidays are known for {country!r}: expected an ISO 3166 code such as BR, or leave it out"
        return
    if subdivision is not None and subdivision not in entity.subdivisions:
        known = ", ".join(entity.subdivisions) or "none"
        yield "subdivision", f"{country!r} has no subdivision {subdivision!r}; it has {known}"
    if not categories:
        yield "categories", f"name one of {', '.join(entity.supported_categories)}, or leave `country` out"
    for category in categories:
        if category not in entity.supported_categories:
            known = ", ".join(entity.supported_categories)
            yield "categories", f"{country!r} has no holidays of category {category!r}; it has {known}"
    languages = entity.supported_languages or (entity.default_language,)
    if language is not None and language not in languages:
        known = ", ".join(each for each in languages if each) or "one language alone: leave it out"
        yield "language", f"the holidays of {country!r} have no names in {language!r}; they have {known}"


def in_year(
    country: str, subdivision: str | None, categories: Sequence[str], language: str | None, year: int
) -> dict[date, tuple[str, ...]]:
    """The names of the holidays of a year, by their local date. What is asked for has no `mistakes`."""
    found = _entity(country)(
        years=[year], expand=False, subdiv=subdivision, categories=tuple(categories), language=language
    )
    return {day: tuple(found.get_list(day)) for day in sorted(found)}


def codes() -> Collection[str]:
    """Of the countries that are known."""
    from holidays.registry import EntityLoader

    return frozenset(EntityLoader.get_country_codes(include_aliases=False))


def _entity(country: str) -> Any:
    """The package's class of a country; None for an unknown one."""
    import holidays

    if COUNTRIES not in sys.modules and (found := find_spec(COUNTRIES)) is not None:
        # The package of countries without its own code, which does nothing but load each of them.
        sys.modules[COUNTRIES] = module_from_spec(found)
    return getattr(holidays, country) if country in codes() else None
