"""What an engine says of itself: read from vLLM's recorded pages, held against a manifest and its neighbours."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.facts import (
    WANTED,
    Facts,
    asleep_by_page,
    differences,
    disagreements,
    json_object,
    read_facts,
    untold,
)
from gateway.settings.replicas import AdapterConfig
from tests.engine import recordings
from tests.gateway.builders import manifest

METRICS = recordings.load("metrics").body


def cards(*made: Any) -> bytes:
    return json.dumps({"object": "list", "data": made}).encode()


def test_a_recorded_engine_tells_everything() -> None:
    facts = read_facts(recordings.load("version").body, recordings.load("models").body, METRICS)
    assert facts == Facts(version="0.32.0", max_model_len=512, models=("faq",), adapters=(), missing=())


def test_adapters_are_the_cards_with_a_parent() -> None:
    base, adapter = {"id": "faq", "parent": None, "root": "/faq", "max_model_len": 8}, {"id": "fr", "parent": "faq"}
    facts = read_facts(b"", cards(base, adapter, {"id": "pt"}, {"id": 1, "parent": "faq", "root": "/one"}), b"")
    assert (facts.models, facts.adapters, facts.max_model_len) == (("faq", "pt"), ("fr",), 8)


def test_each_wanted_metric_that_is_not_there_is_missing() -> None:
    for name in WANTED:
        page = METRICS.replace(f"# TYPE {name} ".encode(), b"# TYPE other ")
        assert read_facts(b"", b"", page).missing == (name,)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_no_page_breaks_the_reading(version: bytes, models: bytes, metrics: bytes) -> None:
    read_facts(version, models, metrics)
    assert json_object(b"") == {}


@pytest.mark.parametrize("odd", [1, None, {"id": 5}, {"id": "a", "parent": 5, "max_model_len": "x"}])
def test_an_odd_card_is_read_as_far_as_it_goes(odd: Any) -> None:
    facts = read_facts(b"[]", cards(odd, {"id": "faq", "max_model_len": 7}), b"")
    assert ("faq" in facts.models, facts.max_model_len, facts.version) == (True, 7, None)


@pytest.mark.parametrize(
    ("page", "asleep"),
    [
        (b'{"is_sleeping": true}', True),
        (b'{"is_sleeping": false}', False),
        (b'{"is_sleeping": 1}', None),
        (b"{}", None),
        (b"no", None),
    ],
)
def test_who_sleeps_by_its_page(page: bytes, asleep: bool | None) -> None:
    assert asleep_by_page(page) is asleep


FACTS = Facts(version="0.32.0", max_model_len=512, models=("faq",), adapters=("fr",), fingerprint="f1")
EXPECTED = {"version": "0.32.0", "flags": {"max-model-len": 512}, "fingerprint": "f1"}


def test_an_engine_as_the_manifest_says_differs_in_nothing() -> None:
    assert differences(FACTS, manifest(engine=EXPECTED), "faq") == []
    assert differences(FACTS, manifest(engine=EXPECTED), "fr") == []


@pytest.mark.parametrize(
    ("engine", "sides"),
    [
        ({"version": "0.31.0"}, ("'0.31.0'", "'0.32.0'")),
        ({"flags": {"max-model-len": 256}}, ("256", "512")),
        ({"fingerprint": "f2"}, ("'f2'", "'f1'")),
    ],
)
def test_what_differs_is_named_with_both_sides(engine: dict[str, Any], sides: tuple[str, str]) -> None:
    (found,) = differences(FACTS, manifest(engine={**EXPECTED, **engine}), "faq")
    assert "faq@1" in found
    assert all(side in found for side in sides)


def test_a_name_that_the_engine_does_not_serve() -> None:
    (found,) = differences(FACTS, manifest(), "shop")
    assert "'shop'" in found
    assert "faq, fr" in found


def test_an_adapter_that_was_loaded_from_elsewhere_is_a_difference_and_no_other_is() -> None:
    facts = read_facts(b"", cards({"id": "fr", "parent": "faq", "root": "/fr/1"}), b"")
    assert facts.origins == (("fr", "/fr/1"),)
    for path in ("/fr/1", "/fr/1/", None):
        assert differences(facts, manifest(), None, AdapterConfig(name="fr", path=path)) == []
    assert differences(facts, manifest(), None, AdapterConfig(name="pt", path="/fr/2")) == []
    (found,) = differences(facts, manifest(), None, AdapterConfig(name="fr", path="/fr/2"))
    assert found.startswith(
        "faq@1 expects the adapter 'fr' from '/fr/2', and the engine has one of that name from '/fr/1'"
    )


def test_an_adapter_is_held_where_no_other_one_has_its_name() -> None:
    fr, other = AdapterConfig(name="fr", path="/fr/1"), AdapterConfig(name="fr", path="/fr/2")
    facts = Facts(adapters=("pt",), origins=(("pt", "/pt"),)).loaded("fr", "/fr/1")
    assert (facts.holds(fr), facts.holds(other), facts.holds(AdapterConfig(name="fr"))) == (True, False, True)
    assert (facts.elsewhere(fr), facts.elsewhere(other)) == (None, "/fr/1")
    assert facts.loaded("fr", "/fr/2").elsewhere(other) is None
    assert facts.loaded("fr", None).holds(other), "nobody says where it is from"
    assert facts.unloaded("fr") == Facts(adapters=("pt",), origins=(("pt", "/pt"),))


def test_what_either_side_leaves_open_is_no_difference() -> None:
    assert differences(Facts(), manifest(engine=EXPECTED), "faq") == []
    assert differences(FACTS, manifest(), "faq") == []


def test_replicas_of_one_pool_should_be_alike() -> None:
    other = Facts(version="0.33.0", max_model_len=512)
    assert disagreements([("a", FACTS), ("b", FACTS), ("c", Facts())]) == []
    (found,) = disagreements([("a", FACTS), ("b", other), ("c", FACTS)])
    assert found == "its replicas differ in version: '0.32.0' on a, c; '0.33.0' on b"


def test_one_adapter_of_one_name_is_from_one_place_on_all_replicas() -> None:
    one, two = (Facts(origins=(("fr", path),)) for path in ("/fr/1", "/fr/2"))
    assert disagreements([("a", one), ("b", one), ("c", Facts(origins=(("pt", "/fr/2"),)))]) == []
    (found,) = disagreements([("a", one), ("b", two)])
    assert found == "its replicas differ in where the adapter 'fr' is from: '/fr/1' on a; '/fr/2' on b"


def test_only_what_an_engine_is_known_not_to_tell_is_told() -> None:
    assert untold(None, None) == untold(True, True) == []
    assert [("per-request" in each, "prompt-tokens" in each) for each in untold(False, False)] == [
        (True, False), (False, True),
    ]  # fmt: skip
