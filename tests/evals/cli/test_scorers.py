import json
from pathlib import Path
from typing import Any, Literal

import pytest
from click.testing import CliRunner, Result
from pydantic import Field

from evals import scorers
from evals.cli import main
from evals.cli.scorers import describe
from evals.config import load_suite
from evals.scorers.base import Scorer

KNOWN = scorers.known()


def evals(*args: str) -> Result:
    return CliRunner().invoke(main, ["scorers", *args])


def test_the_list_has_every_scorer_with_its_options() -> None:
    lines = evals().stdout.splitlines()
    assert [name for name in KNOWN if not any(line.split()[:1] == [name] for line in lines)] == []
    (row,) = [line for line in lines if line.split()[:1] == ["regex"]]
    assert "1 when the pattern is found" in row
    assert "pattern*, ignore_case, full" in row


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_example_is_a_suite_that_loads(name: str, tmp_path: Path) -> None:
    found = describe(name, KNOWN[name])
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"suite: s\ndataset: d.jsonl\n{found['example']}", encoding="utf-8")
    loaded = load_suite(suite, scorers.build)
    assert [spec.name for spec in loaded.scorers] == [name]
    assert set(loaded.scorers[0].options) <= {option["name"] for option in found["options"]}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_scorer_says_what_it_does(name: str) -> None:
    found = describe(name, KNOWN[name])
    assert 5 <= len(found["summary"].split()) <= 40
    assert found["summary"].endswith((".", ":"))
    assert found["family"]


def test_one_scorer_is_explained_with_options_and_an_example() -> None:
    result = evals("numeric")
    assert result.stdout.startswith("numeric: 1 when the last number of the answer is that of a reference")
    assert "\n  tolerance: float, default 0.0\n" in result.stdout
    assert "In a suite:\n\nscorers:\n- name: numeric\n  as: price\n  tolerance: 0.01\n" in result.stdout
    assert "\n  schema: mapping, required\n" in evals("json_schema").stdout


def test_json_of_one_and_of_all() -> None:
    one = json.loads(evals("squad_f1", "--json").stdout)
    assert one["options"] == [{"name": "no_answer", "type": "list of str", "required": False, "default": []}]
    everything = json.loads(evals("--json").stdout)
    assert [each["name"] for each in everything] == sorted(KNOWN)
    assert one in everything


def test_an_unknown_name_is_broken_input() -> None:
    result = evals("ruoge")
    assert result.exit_code == 3
    assert "unknown scorer 'ruoge': did you mean 'rouge'?" in result.stderr


class Odd(Scorer):
    """Has an option of every shape that a type can have here."""

    a: Literal["x", "y"] | None = None
    b: dict[str, Any]
    c: list[int] = Field(default=[1])
    d: int | float = 1


def test_types_are_told_as_people_say_them() -> None:
    found = {option["name"]: option["type"] for option in describe("odd", Odd)["options"]}
    assert found == {"a": "'x' | 'y' | None", "b": "mapping", "c": "list", "d": "int | float"}
