"""`gateway check` with rules: what they do in two years, what is a warning, and what is a mistake with its line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.gateway.builders import NO_GPU_PRICE, write_config
from tests.gateway.ruled import DEFAULT, PEAK, REGIONS


def _written(folder: Path, *conditions: str, **changes: Any) -> Path:
    rules = [{"id": f"r{at}", "when": when, "release": "faq@2"} for at, when in enumerate(conditions)]
    releases = [{"manifest": f"{name}.yaml", "pool": "main"} for name in ("faq@1", "faq@2")]
    models = {"faq": {"live": "faq@1", "releases": releases, "rules": [*rules, DEFAULT]}}
    values = {"headers": ["x-tier"], "regions": REGIONS, "windows": {"peak": PEAK}, "models": models}
    return write_config(folder, **{**values, **changes})


def _check(path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["check", str(path), "--rules-from", "2026-11-22", *options])


def test_what_the_rules_do_is_shown(tmp_path: Path) -> None:
    result = _check(_written(tmp_path, '"peak" in local.windows && key.team == "a"'), "--json")
    assert (result.exit_code, result.stderr) == (0, NO_GPU_PRICE)
    found = json.loads(result.stdout)["rules"]["faq"]
    grid = found["grid"]
    assert (grid["from"], grid["until"]) == ("2026-11-22T00:00:00+00:00", "2028-11-23T00:00:00+00:00")
    assert (grid["requests"], grid["combinations"], grid["values"]) == (2, 2, {"key.team": ["(other)", "a"]})
    assert grid["moments_that_differ"] == 4
    assert sum(found["wins"].values()) == grid["moments"] * 2
    assert (found["dead"], found["overlaps"], found["overlapping_pairs"], found["errors"]) == ([], [], 0, [])


def test_dead_and_overlapping_rules_are_warnings(tmp_path: Path) -> None:
    path = _written(
        tmp_path, 'key.team == "a"', 'headers["x-tier"] == "gold"', '"Carnaval" in local.holidays', "local.hour > 24"
    )
    result = _check(path)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert (
        "# warning: faq: the rule 'r2' never wins: no region has a holiday 'Carnaval' in this time: "
        "did you mean 'Carnival'?" in lines
    )
    assert "# warning: faq: the rule 'r3' never wins: it never holds" in lines
    (overlap,) = [line for line in lines if "which holds too" in line]
    assert overlap.startswith(
        "# warning: faq: 'r0' wins over 'r1', which holds too, at 2026-11-22T00:00:00+00:00 in BR-SP with"
    )
    assert "key.team='a'" in overlap
    assert lines[-1] == f"# {path} is valid"


def test_a_rule_behind_another_is_told_with_it(tmp_path: Path) -> None:
    result = _check(_written(tmp_path, "req.stream", 'req.stream && key.team == "a"'))
    assert "the rule 'r1' never wins: where it holds, these win: r0" in result.stderr


def test_a_rule_that_may_win_with_a_request_that_was_not_tried_is_not_called_dead(tmp_path: Path) -> None:
    tier = 'headers["x-tier"]'
    path = _written(
        tmp_path, 'key.team.matches("^acme-.*")', f'{tier}.startsWith("go") && {tier}.endsWith("ld")',
        'key.team == "a" || key.team.matches("^b+$")', 'key.team == "a"', 'req.max_tokens > 9 && req.max_tokens < 5',
    )  # fmt: skip
    result = _check(path)
    told = "won in none of the cases that were tried (it held in none of them): ask `gateway explain` about one"
    assert [f"the rule '{rule}' {told}" in result.stderr for rule in ("r0", "r1")] == [True, True]
    assert "'r3' won in none of the cases that were tried (where it held, these won: r2): ask" in result.stderr
    assert "the rule 'r4' never wins: it never holds" in result.stderr
    dead = json.loads(_check(path, "--json").stdout)["rules"]["faq"]["dead"]
    assert [(each["rule"], each["proven"]) for each in dead] == [
        ("r0", False), ("r1", False), ("r3", False), ("r4", True)
    ]  # fmt: skip


def test_a_rule_that_cannot_be_evaluated_is_a_mistake_with_its_line_and_an_example(tmp_path: Path) -> None:
    path = _written(tmp_path, 'key.team == "a" && int(headers["x-tier"]) > 3')
    result = _check(path, "--json")
    assert result.exit_code == 1
    (error,) = json.loads(result.stdout)["rules"]["faq"]["errors"]
    assert (error["rule"], error["example"]["request"]["key.team"]) == ("r0", "a")
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if "int(headers" in text)
    assert (
        f"line {line}, models.faq.rules.0.when: cannot be evaluated at 2026-11-22T00:00:00+00:00 in BR-SP"
        in result.stderr
    )
    assert "is valid" not in result.stderr


def test_what_does_not_compile_is_a_mistake_before_anything_is_tried(tmp_path: Path) -> None:
    result = _check(_written(tmp_path, "local.hours == 3"), "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "`local` has no member 'hours'" in result.stderr


def test_rules_are_tried_also_where_changes_are_asked_for(tmp_path: Path) -> None:
    path = _written(tmp_path, 'int(headers["x-tier"]) > 3')
    result = _check(path, "--against", str(path))
    assert result.exit_code == 1
    assert "cannot be evaluated" in result.stderr


def test_of_many_values_the_first_are_printed(tmp_path: Path) -> None:
    found = json.loads(_check(_written(tmp_path, *(f'key.team == "t{at}"' for at in range(20))), "--json").stdout)
    values = found["rules"]["faq"]["grid"]["values"]["key.team"]
    assert (values[:2], values[-1]) == (["(other)", "t0"], "… 13 more")


def test_without_rules_there_is_nothing_to_try(tmp_path: Path) -> None:
    assert json.loads(_check(write_config(tmp_path), "--json").stdout)["rules"] == {}


def test_where_not_all_combinations_were_tried_it_is_said(tmp_path: Path) -> None:
    conditions = [f'key.team == "t{at}" && key.id == "k{at}" && req.max_tokens == {at * 9}' for at in range(40)]
    result = _check(_written(tmp_path, *conditions))
    assert result.exit_code == 0
    assert (
        "of 201720 combinations of values were tried: a rule that won with none of them may win with another"
        in result.stderr
    )
    assert "never wins:" not in result.stderr


def test_where_minutes_were_left_out_it_is_said(tmp_path: Path) -> None:
    path = _written(tmp_path, 'now < timestamp("2027-01-01T00:00:00Z")', "local.minute % 2 == 1")
    assert " minutes of an hour were not tried: a rule may win in one of them" in _check(path).stderr


@pytest.mark.parametrize(("day", "code"), [("1970-12-31", 2), ("1971-01-01", 0), ("2197-01-01", 0), ("9999-01-01", 2)])
def test_rules_are_tried_in_years_whose_calendars_can_be_told(tmp_path: Path, day: str, code: int) -> None:
    path = _written(tmp_path, '"peak" in local.windows')
    result = CliRunner().invoke(main, ["check", str(path), "--rules-from", day])
    assert result.exit_code == code
    assert ("expected a date from 1971-01-01 to 2197-01-01" in " ".join(result.stderr.split())) == (code == 2)
