"""CSV and JSON values: exact, and harmless in a spreadsheet."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gateway.costs import sheets


@pytest.mark.parametrize("name", ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_name_that_a_spreadsheet_would_run_begins_with_an_apostrophe(name: str) -> None:
    stream = io.StringIO()
    sheets.write_csv(stream, ["team", "cost"], [{"team": name, "cost": Decimal("-1.50")}])
    (found,) = csv.DictReader(io.StringIO(stream.getvalue(), newline=""))
    assert found == {"team": "'" + name.replace("\r", "\\r"), "cost": "-1.50"}


def test_amounts_have_no_exponent_and_unknown_is_empty() -> None:
    stream = io.StringIO()
    row = {"a": Decimal("1E-9"), "b": Decimal("1E+3"), "c": None, "d": 2**63, "e": "plain, text"}
    sheets.write_csv(stream, row, [row])
    assert stream.getvalue() == 'a,b,c,d,e\n0.000000001,1000,,9223372036854775808,"plain, text"\n'


def test_an_amount_that_no_float_can_hold_stays_what_it_is() -> None:
    amount = Decimal("9007199254740993.000000001")
    stream = io.StringIO()
    sheets.write_csv(stream, ["a"], [{"a": amount}])
    assert stream.getvalue() == "a\n9007199254740993.000000001\n"
    assert Decimal(json.loads(json.dumps(sheets.plain(amount)))) == amount


def test_json_has_amounts_as_text_and_times_in_utc() -> None:
    values = {"a": Decimal("0.1"), "b": datetime(2026, 11, 1, tzinfo=UTC), "c": None, "d": 3}
    assert json.dumps({name: sheets.plain(value) for name, value in values.items()}) == (
        '{"a": "0.1", "b": "2026-11-01T00:00:00Z", "c": null, "d": 3}'
    )
