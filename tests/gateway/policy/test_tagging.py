"""Region and tags of a request: the rules' region, the key's tags first, and odd headers refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidRequest
from gateway.policy.calendar import Calendars
from gateway.policy.tagging import UNTAGGED, Tagging
from gateway.settings.calendars import CalendarConfig, Regions
from gateway.settings.tags import encode
from tests.gateway.builders import principal

HEADERS = {"project": "x-project", "env": "x-env"}
TAGGING = Tagging(None, HEADERS)


def tags(own: dict[str, str], **told: bytes) -> dict[str, str] | None:
    """What a request has, of a key with tags of its own; `told` are its headers, as they are called without `x-`."""
    headers = {f"x-{name}".encode(): value for name, value in told.items()}
    region, found = TAGGING.of(principal(tags=encode(own)), headers.get)
    assert region is None
    return None if found is None else dict(json.loads(found))


def test_without_configuration_a_row_has_what_its_key_has() -> None:
    assert UNTAGGED.of(principal(), {b"x-project": b"beta"}.get) == (None, None)
    assert UNTAGGED.of(principal(tags='{"a":"b"}'), {}.get) == (None, '{"a":"b"}')


@given(
    st.dictionaries(st.sampled_from([*HEADERS, "other"]), st.sampled_from("abc")),
    st.dictionaries(st.sampled_from([*HEADERS]), st.sampled_from("xyz")),
)
def test_a_client_adds_tags_and_changes_none(own: dict[str, str], told: dict[str, str]) -> None:
    found = tags(own, **{name: value.encode() for name, value in told.items()})
    assert (found or {}) == {**told, **own}
    assert found is None or list(found) == sorted(found)


@pytest.mark.parametrize("value", [b"x" * 129, b"a\tb", b"\xff\xfe", b"a\x7f"], ids=repr)
def test_an_odd_value_is_refused_by_name(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="'project'"):
        tags({}, project=value)
    assert tags({"project": "alpha"}, project=value) == {"project": "alpha"}, "it would not have counted"


def test_an_empty_header_is_none() -> None:
    assert tags({}, project=b"") is None


def test_utf_8_is_text() -> None:
    assert tags({}, project="Vendas São Paulo".encode()) == {"project": "Vendas São Paulo"}


def test_the_region_is_that_of_the_rules() -> None:
    regions = Regions(default="SP", header="x-region", calendars={"SP": CalendarConfig(), "NY": CalendarConfig()})
    tagging = Tagging(Calendars(regions, {}, {}), {})
    found = [tagging.of(principal(), {b"x-region": named}.get)[0] for named in (b"NY", b"SP", b"Mars", b"")]
    assert found == ["NY", "SP", "SP", "SP"]
    assert tagging.of(principal(), {}.get) == ("SP", None)
    alone = Tagging(Calendars(Regions(default="SP", calendars={"SP": CalendarConfig()}), {}, {}), {})
    assert alone.of(principal(), {b"x-region": b"NY"}.get) == ("SP", None)
