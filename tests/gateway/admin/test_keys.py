"""Keys as they are shown, and what a key may ask of a configuration."""

import pytest

from gateway.admin import keys
from gateway.admin.errors import Conflict
from tests.gateway.builders import NOW, deployment, key


def test_a_key_is_shown_without_what_opens_anything() -> None:
    text, record = key(models=frozenset({"b", "a"}), expires_at=NOW + 60, tags='{"p":"q"}', rpm=3)
    found = keys.shown(record, NOW)
    assert (found["models"], found["tags"], found["rpm"], found["refusal"]) == (["a", "b"], {"p": "q"}, 3, None)
    assert found["expires_at"] == "2026-11-22T12:01:00Z"
    assert keys.shown(record, NOW + 61)["refusal"] == "this key has expired"
    secret = text.rpartition("-")[2]
    assert secret not in repr(found)
    assert record.digest.hex() not in repr(found)
    assert not any(isinstance(value, bytes) for value in found.values())


def test_a_model_or_a_class_that_is_not_there_is_a_conflict() -> None:
    config = deployment().config
    keys.require(config, ["faq"], "batch")
    keys.require(config, None, None)
    with pytest.raises(Conflict, match="no model 'gpt'"):
        keys.require(config, ["faq", "gpt"], None)
    with pytest.raises(Conflict, match="no class 'gold'"):
        keys.require(config, None, "gold")
