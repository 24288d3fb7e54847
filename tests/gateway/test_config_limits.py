"""Teams and classes in the file: each mistake with its line and key."""

from pathlib import Path

import pytest

from gateway import config
from gateway.config import Deployment
from gateway.contracts.errors import DocumentError
from gateway.settings.limits import CLASSES

MODELS = """enforcement: {mode: off}
pools:
  main: {replicas: [{url: "http://10.0.0.7:8000"}]}
models:
  faq: {live: faq@1, releases: [{manifest: faq.yaml, pool: main}]}
"""
TEAMS = """teams:
  search:
    rpm: 600
    models: [faq]
    class: interactive
  sales: {weight: 2}
"""


def _load(folder: Path, text: str) -> Deployment:
    (folder / "faq.yaml").write_text("name: faq@1\nmodel: {id: m}\n")
    (folder / "gateway.yaml").write_text(MODELS + text)
    return config.load(folder / "gateway.yaml")


def test_teams_and_classes_are_read(tmp_path: Path) -> None:
    found = _load(tmp_path, TEAMS).config
    search, sales = found.teams["search"], found.teams["sales"]
    assert (search.rpm, search.models, search.priority_class) == (600, ("faq",), "interactive")
    assert (sales.limits_nothing, sales.models, sales.priority_class, sales.weight) == (True, None, None, 2.0)


def test_without_a_word_there_are_three_classes_and_no_team(tmp_path: Path) -> None:
    found = _load(tmp_path, "").config
    assert (found.classes, found.teams) == (CLASSES, {})


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("class: interactive", "class: gold", "teams.search.class", "batch, interactive, standard"),
        ("[faq]", "[faq, shop]", "teams.search.models.1", "no model 'shop'"),
        ("rpm: 600", "rpm: 0", "teams.search.rpm", "greater than or equal to 1"),
        ("rpm: 600", "rpx: 600", "teams.search.rpx", "did you mean 'rpm'?"),
        ("class: interactive", "clas: interactive", "teams.search.clas", "did you mean 'class'?"),
        ("class: interactive", "zzz: batch", "teams.search.zzz", "class, concurrency, models"),
        ("weight: 2", "weight: 0", "teams.sales.weight", "greater than 0"),
    ],
)
def test_a_mistake_in_a_team_is_named_with_its_line_and_key(
    tmp_path: Path, old: str, new: str, key: str, says: str
) -> None:
    text = TEAMS.replace(old, new)
    with pytest.raises(DocumentError) as caught:
        _load(tmp_path, text)
    (mistake,) = caught.value.mistakes
    line = next(number for number, each in enumerate((MODELS + text).splitlines(), 1) if new in each)
    assert (mistake.line, mistake.key) == (line, key)
    assert says in mistake.message


def test_the_class_of_those_that_name_none_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"line 6, classes: no class 'standard'"):
        _load(tmp_path, "classes: {gold: {level: 5}}\n")
