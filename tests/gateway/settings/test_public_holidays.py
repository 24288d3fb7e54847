"""Holidays as the package knows them: what can be asked for, and what is answered."""

import json
import subprocess
import sys
from datetime import date
from typing import Any

import holidays
import pytest

from gateway.settings import public_holidays


def test_carnival_is_optional_in_brazil() -> None:
    public = public_holidays.in_year("BR", "SP", ("public",), "en_US", 2027)
    every = public_holidays.in_year("BR", "SP", ("public", "optional"), "en_US", 2027)
    assert date(2027, 2, 9) not in public
    assert every[date(2027, 2, 9)] == ("Carnival",)
    assert public[date(2027, 7, 9)] == ("Constitutionalist Revolution",)
    assert date(2027, 7, 9) not in public_holidays.in_year("BR", None, ("public",), "en_US", 2027)


def test_names_come_in_the_language_that_is_asked_for() -> None:
    assert public_holidays.in_year("BR", None, ("optional",), "pt_BR", 2027)[date(2027, 2, 9)] == ("Carnaval",)


def test_a_year_holds_its_own_days_alone() -> None:
    found = public_holidays.in_year("US", "CA", ("public",), None, 2026)
    assert {day.year for day in found} == {2026}
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("asked", "key", "said"),
    [
        (("XX", None, ("public",), None), "country", "no holidays are known for 'XX'"),
        (("br", None, ("public",), None), "country", "expected an ISO 3166 code such as BR"),
        (("BR", "ZZ", ("public",), None), "subdivision", "'BR' has no subdivision 'ZZ'; it has AC"),
        (("BR", "SP", ("public", "carnival"), None), "categories", "no holidays of category 'carnival'; it has"),
        (("BR", "SP", (), None), "categories", "name one of optional, public, or leave `country` out"),
        (("BR", "SP", ("public",), "fr"), "language", "no names in 'fr'; they have en_US, pt_BR"),
        ((None, "SP", ("public",), None), "subdivision", "says nothing without a `country`"),
        ((None, None, ("public",), "en_US"), "language", "says nothing without a `country`"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_told(
    asked: tuple[str | None, str | None, tuple[str, ...], str | None], key: str, said: str
) -> None:
    ((found, message),) = public_holidays.mistakes(*asked)
    assert found == key
    assert said in message


def test_what_can_be_answered_has_no_mistake() -> None:
    for asked in (
        ("BR", "SP", ("public", "optional"), "en_US"),
        ("US", "CA", ("public",), None),
        (None, None, (), None),
    ):
        assert list(public_holidays.mistakes(*asked)) == []


ALONE = """
import json, sys
from gateway.settings import public_holidays
found = public_holidays.in_year("NE", None, ("public",), None, 2026)
loaded = [name for name in sys.modules if name.startswith(public_holidays.COUNTRIES + ".")]
print(json.dumps([{day.isoformat(): names for day, names in found.items()}, loaded]))
"""
WHOLE = """
import json, sys
from holidays import countries
from gateway.settings import public_holidays
codes = public_holidays.codes()
years = {code: public_holidays.in_year(code, None, ("public",), None, 2026) for code in codes}
print(json.dumps({code: {day.isoformat(): names for day, names in year.items()} for code, year in years.items()}))
"""


def _said(code: str) -> Any:
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_a_country_is_loaded_without_the_others() -> None:
    found, loaded = _said(ALONE)
    assert "2026-08-03" in found
    assert loaded == ["holidays.countries.niger"]


def test_every_country_is_the_same_whether_the_others_are_loaded_or_not() -> None:
    whole = _said(WHOLE)
    assert set(whole) == set(holidays.list_supported_countries(include_aliases=False))
    assert whole == _said(WHOLE.replace("from holidays import countries\n", ""))
