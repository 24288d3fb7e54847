import json
from pathlib import Path

import pytest

from evals.cli.data import data
from evals.dataset import load

A = '{"id": "a", "input": "How much is Team?", "reference": "29", "tags": ["price"], "cluster": "c"}\n'
B = '{"id": "b", "input": "Hi", "tags": ["talk"]}\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "d.jsonl"
    path.write_text(A + B)
    return path


@pytest.mark.parametrize("name", sorted(data.commands))
def test_every_command_of_the_group_has_help_with_an_example(evals, name: str) -> None:
    assert f"evals data {name} " in evals("data", name, "--help").stdout.split("Examples:")[1]


def test_show_lists_samples_and_counts(evals, file: Path) -> None:
    shown = evals("data", "show", file).stdout
    rows = [line.split() for line in shown.splitlines()]
    assert ["a", "How", "much", "is", "Team?", "29", "price", "c"] in rows
    assert ["b", "Hi", "talk", "-"] in rows
    assert shown.splitlines()[-3:] == ["2 samples", "tags: price 1, talk 1", "clusters: 2"]


def test_show_filters_and_limits(evals, file: Path) -> None:
    assert "1 of 2 samples (--limit 2: all)" in evals("data", "show", file, "--limit", 1).stdout
    only = evals("data", "show", file, "--tag", "talk", "--json").stdout
    assert json.loads(only) == {"id": "b", "input": "Hi", "tags": ["talk"], "digest": load(file).digests["b"]}


def test_show_one_sample(evals, file: Path) -> None:
    text, _, digest = evals("data", "show", file, "a").stdout.rstrip().rpartition("\n")
    assert json.loads(text) == json.loads(A)
    assert digest == f"digest: {load(file).digests['a']}"


def test_show_says_what_was_sought(evals, file: Path) -> None:
    result = evals("data", "show", file, "z", "--tag", "pirce")
    assert result.exit_code == 3
    assert "sought id 'z' and tag 'pirce' among 2 samples; the tags are price, talk" in result.stderr


def test_show_of_a_split_needs_a_card(evals, file: Path) -> None:
    assert "which says who is in it" in evals("data", "show", file, "--split", "test").stderr


def test_diff_of_the_same_samples(evals, file: Path) -> None:
    Path("other.jsonl").write_text(B + A)
    result = evals("data", "diff", file, "other.jsonl")
    assert (result.exit_code, result.stdout) == (0, f"the same 2 samples: {load(file).digest}\n")


def test_diff_shows_every_change(evals, file: Path) -> None:
    Path("new.jsonl").write_text(A.replace('"29"', '"31"') + B.replace('"b"', '"c"').replace("talk", "chat"))
    result = evals("data", "diff", file, "new.jsonl")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "samples: 2 -> 2 (1 added, 1 removed, 1 changed)",
        "+ c",
        "- b",
        '~ a: reference: "29" -> "31"',
        "tag chat: 0 -> 1",
        "tag talk: 1 -> 0",
        f"digest: {load(file).digest} -> {load(Path('new.jsonl')).digest}",
    ]
    assert json.loads(evals("data", "diff", file, "new.jsonl", "--json").stdout)["changed"] == {
        "a": [{"field": "reference", "old": "29", "new": "31"}]
    }


def test_a_long_diff_is_cut_and_says_so(evals, file: Path) -> None:
    Path("new.jsonl").write_text("".join(f'{{"id": "n{i}", "input": "x"}}\n' for i in range(30)))
    assert "  and 12 more (--json: all)" in evals("data", "diff", file, "new.jsonl").stdout


def test_diff_of_a_broken_file_is_3_not_1(evals, file: Path) -> None:
    assert evals("data", "diff", file, "none.jsonl").exit_code == 3
    assert evals("data", "diff", file).exit_code == 3


def test_convert_keeps_the_digest(evals, file: Path) -> None:
    wanted = load(file).digest
    for source, target in (("d.jsonl", "e.csv"), ("e.csv", "f.parquet"), ("f.parquet", "g.jsonl")):
        assert evals("data", "convert", source, target).stdout == f"2 samples in '{target}': {wanted}\n"
    assert Path("g.jsonl").read_text() == file.read_text().replace(": ", ":").replace(", ", ",")


def test_convert_overwrites_only_when_told(evals, file: Path) -> None:
    Path("e.csv").write_text("mine")
    result = evals("data", "convert", file, "e.csv")
    assert (result.exit_code, Path("e.csv").read_text()) == (3, "mine")
    assert evals("data", "convert", file, "e.csv", "--force").exit_code == 0
