"""What was asked of the ledger, and the document of it."""

import json
from pathlib import Path

from gateway.admin.costs import Asked
from gateway.costs import closing
from tests.gateway.admin.desk import desk
from tests.gateway.builders import NOW


def _asked(folder: Path, by: tuple[str, ...] = ("team",), since: float | None = None) -> Asked:
    stores = desk(folder).house.stores
    return Asked(stores, by, {}, since, None, NOW, closing.provisional(stores, NOW))


def test_the_document_has_rows_a_total_and_what_is_to_be_said(tmp_path: Path) -> None:
    found = _asked(tmp_path).document()
    assert found == json.loads(json.dumps(found))
    assert [(row["team"], row["list_cost"], row["allocated"]) for row in found["rows"]] == [
        ("search", "0.500000000", None)
    ]
    assert (found["totals"]["requests"], found["totals"]["unallocated"]) == (1, 1)


def test_an_empty_period_says_what_there_is(tmp_path: Path) -> None:
    found = _asked(tmp_path, since=NOW + 3600).document()
    assert found["rows"] == []
    assert "it holds requests and GPU time of 2026-11" in found["notes"][0]
