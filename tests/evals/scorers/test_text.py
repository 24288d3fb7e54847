from decimal import Decimal

import pytest
from pydantic import ValidationError

from evals.schema import Answer, Sample
from evals.scorers.base import NoServices
from evals.scorers.text import Exact, Includes, Numeric, Regex, last_number, normalise


def sample(reference: str | list[str] | None = "The Free plan") -> Sample:
    return Sample(id="a", input="q", reference=reference)


async def value(scorer, text: str, reference: str | list[str] | None = "The Free plan") -> float:
    return (await scorer.score(sample(reference), Answer(text=text), NoServices())).value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Free plan!", "free plan"),
        ("a an the", ""),
        ("theatre", "theatre"),
        ("U.S.A.", "usa"),
        (" Zero-cost\tplan\n", "zerocost plan"),
    ],
)
def test_normalisation_is_squads(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("free plan.", 1.0), ("A FREE plan", 1.0), ("free plans", 0.0), ("the free plan costs", 0.0)]
)
async def test_exact(text: str, expected: float) -> None:
    assert await value(Exact(), text) == expected


async def test_exact_without_normalisation_compares_characters() -> None:
    assert await value(Exact(normalise=False), "free plan") == 0.0
    assert await value(Exact(normalise=False), " The Free plan\n") == 1.0


@pytest.mark.parametrize("scorer", [Exact(), Includes()])
async def test_any_reference_will_do(scorer) -> None:
    assert await value(scorer, "Pro", ["Free", "Pro"]) == 1.0
    assert await value(scorer, "Team", ["Free", "Pro"]) == 0.0


@pytest.mark.parametrize("scorer", [Exact(), Includes(), Numeric()])
async def test_without_a_reference_nothing_is_guessed(scorer) -> None:
    with pytest.raises(ValueError, match="no reference"):
        await value(scorer, "x", None)


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("You want the free plan, I think.", "Free plan", 1.0),
        ("It costs 50 dollars", "5", 0.0),
        ("It costs 5 dollars", "5", 1.0),
        ("nothing", "Free plan", 0.0),
    ],
)
async def test_includes_finds_whole_words(text: str, reference: str, expected: float) -> None:
    assert await value(Includes(), text, reference) == expected


async def test_includes_without_normalisation_finds_characters() -> None:
    assert await value(Includes(normalise=False), "It costs 50 dollars", "5") == 1.0


async def test_a_reference_that_everything_includes_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty after normalisation"):
        await value(Includes(), "anything", "the")


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({"pattern": r"\d+ GB"}, "with 5 GB of it", 1.0),
        ({"pattern": r"\d+ GB"}, "with five", 0.0),
        ({"pattern": "berlin"}, "Berlin", 0.0),
        ({"pattern": "berlin", "ignore_case": True}, "Berlin", 1.0),
        ({"pattern": "yes", "full": True}, " yes\n", 1.0),
        ({"pattern": "yes", "full": True}, "yes, but", 0.0),
    ],
)
async def test_regex(options: dict[str, object], text: str, expected: float) -> None:
    assert await value(Regex(**options), text, None) == expected


def test_a_broken_pattern_is_refused() -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        Regex(pattern="(")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It costs 5 dollars.", "5"),
        ("3 + 4 = 7", "7"),
        ("-2.50", "-2.50"),
        ("1,234,567 users", "1234567"),
        ("on 2024-05", "05"),
        ("a .5 share", ".5"),
        ("1e3", "1e3"),
        ("none", None),
        ("- + ,.", None),
    ],
)
def test_the_last_number_counts(text: str, expected: str | None) -> None:
    assert last_number(text) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({}, "10", 1.0),
        ({}, "10.0", 1.0),
        ({}, "10.1", 0.0),
        ({}, "ten", 0.0),
        ({"tolerance": 0.1}, "10.1", 1.0),
        ({"tolerance": 0.1}, "10.11", 0.0),
        ({"relative": 0.05}, "9.5", 1.0),
        ({"relative": 0.05}, "9.4", 0.0),
        ({}, "1e999999999", 0.0),
    ],
)
async def test_numeric(options: dict[str, float], text: str, expected: float) -> None:
    assert await value(Numeric(**options), text, "10 dollars") == expected


async def test_a_reference_without_a_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="holds no number"):
        await value(Numeric(), "10", "ten")


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValidationError):
        Numeric(tolerance=-1)
