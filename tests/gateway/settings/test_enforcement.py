"""YAML's bare `off` is a word, and the mode is one of three."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from gateway.settings.enforcement import Enforcement


@pytest.mark.parametrize("text", ["off", "require", "warn"])
def test_a_bare_word_is_a_mode(text: str) -> None:
    assert Enforcement.model_validate(yaml.safe_load(f"mode: {text}")).mode == text


@pytest.mark.parametrize("text", ["on", "maybe", "0"])
def test_another_is_none(text: str) -> None:
    with pytest.raises(ValidationError, match="mode"):
        Enforcement.model_validate(yaml.safe_load(f"mode: {text}"))


def test_its_paths_are_those_of_its_file() -> None:
    anchored = Enforcement(trusted_keys=(Path("gate.pub"), Path("/etc/other.pub"))).anchored(Path("/srv"))
    assert anchored.trusted_keys == (Path("/srv/gate.pub"), Path("/etc/other.pub"))
    assert anchored.verdicts == Path("/srv/verdicts")
