"""What the admin API says of itself holds for whatever a client sends: its OpenAPI document, fuzzed.

Requests are drawn from the document, good ones and bad ones, and asked of the application over real stores: no answer
is a 5xx, each is one that the document describes, and nobody without a token gets any other than 401.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi import checks

from tests.gateway.admin.desk import WRITE, Desk, desk

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
"""Of each page and kind of request: a few seconds in all."""
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
PAGES = 14
APART = [checks.ignored_auth, checks.positive_data_acceptance]
"""Who may ask is asked below. What fits a schema may be refused for what no schema says: that `since` comes before
`until`, that a class is in the configuration."""


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    return desk(folder)


@pytest.fixture(scope="module")
def pages(fuzzed: Desk) -> list[Any]:
    headers = {"authorization": f"Bearer {WRITE}"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", fuzzed.app, headers=headers)
    return [each.ok() for each in schema.get_all_operations()]


def test_every_page_is_described(pages: list[Any]) -> None:
    assert len(pages) == PAGES


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_what_is_sent_is_answered_as_the_document_says(pages: list[Any], fuzzed: Desk, mode: Any) -> None:
    fuzzed.counted.clear()
    for page in pages:

        @BOUNDED
        @given(page.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(headers={"authorization": f"Bearer {WRITE}"}, excluded_checks=APART)

        check()
    found = set(fuzzed.counted)
    assert "failed" not in found
    assert found >= ({"read", "changed"} if mode.value == "positive" else {"refused"})


def test_without_a_token_everything_is_401(pages: list[Any], fuzzed: Desk) -> None:
    fuzzed.counted.clear()
    for page in pages:

        @settings(BOUNDED, max_examples=2)
        @given(page.as_strategy())
        def check(case: Any) -> None:
            for headers in ({}, {"authorization": f"Bearer {WRITE}x"}):
                assert case.call(headers=headers).status_code == 401

        check()
    assert set(fuzzed.counted) == {"unauthorized"}
