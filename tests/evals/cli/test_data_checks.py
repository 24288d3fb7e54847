import json
import resource
from pathlib import Path

import pytest
import yaml

from evals import dataset
from evals.dataset import card as cards
from evals.dataset import load

ABOUT = "name: q\nowner: me  # really\nlicence: CC0-1.0\nmade: by hand\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "d.jsonl"
    rows = [
        {"id": f"q{i}", "input": f"{i * 7919:x} {i}", "reference": str(i), "cluster": f"c{i // 2}"} for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_lint_counts_and_gives_the_digest(evals, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(
        '{"id": "a", "input": "one thing", "reference": "x", "tags": ["t"], "cluster": "c"}\n'
        '{"id": "b", "input": "another", "reference": "x", "tags": ["t"], "cluster": "c"}\n'
        '{"id": "c", "input": "something else"}\n'
    )
    (tmp_path / "card.yaml").write_text(ABOUT + f"file: d.jsonl\ndigest: {load(path).digest}\n")
    result = evals("data", "lint", "d.jsonl")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "nothing to mend",
        "samples: 3",
        "clusters: 2, the largest of 2",
        "tags: t 2",
        "without a reference: 1",
        f"digest: {load(path).digest}",
    ]


def test_lint_names_every_mistake_with_its_line(evals, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"id": "a", "input": "q"}\n{"id": \n{"id": "a", "input": "q"}\n')
    result = evals("data", "lint", "d.jsonl")
    assert result.exit_code == 3
    assert "d.jsonl: line 2: not valid JSON" in result.stderr
    assert "d.jsonl: line 3, id: duplicate id 'a': line 1 has it too" in result.stderr
    result = evals("data", "lint", "d.jsonl", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["errors"]) == (3, 2)
    assert [(f["code"], f["line"]) for f in found["findings"]] == [("schema", 2), ("duplicate-id", 3)]


def test_warnings_are_3_only_when_strict(evals, file: Path) -> None:
    result = evals("data", "lint", file)
    assert result.exit_code == 0
    assert "warning no-card: no card.yaml beside the file" in result.stdout
    assert "0 errors, 1 warnings" in result.stdout
    assert evals("data", "lint", file, "--strict").exit_code == 3


def test_errors_come_first_and_many_of_a_kind_are_counted(evals, tmp_path: Path) -> None:
    lines = [{"id": f"q{i}", "input": f"{i * 7919:x}", "reference": ""} for i in range(9)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = evals("data", "lint", "d.jsonl")
    assert result.exit_code == 3
    shown = result.stdout.splitlines()
    assert (
        shown[0]
        == "error empty-reference: 'q0' has an empty reference: write the expected answer, or leave the key out"
    )
    assert shown[5] == "  and 4 more of empty-reference (--json: all)"
    found = json.loads(evals("data", "lint", "d.jsonl", "--json").stdout)
    assert (found["errors"], found["warnings"], len(found["findings"])) == (9, 1, 10)


def test_lint_looks_into_prompt_and_corpus(evals, tmp_path: Path) -> None:
    question = "How expensive is the Team plan for a year?"
    (tmp_path / "d.jsonl").write_text(json.dumps({"id": "a", "input": question}) + "\n")
    (tmp_path / "suite.yaml").write_text(
        f"suite: s\ndataset: d.jsonl\nsystem: 'Example: {question}'\nscorers: [{{name: exact}}]\n"
    )
    (tmp_path / "corpus.md").write_text(f"# {question}\n")
    result = evals("data", "lint", "d.jsonl", "--suite", "suite.yaml", "--corpus", "corpus.md", "--json")
    assert [f["code"] for f in json.loads(result.stdout)["findings"]] == ["in-prompt", "in-corpus", "no-card"]
    assert "no such file or folder" in evals("data", "lint", "d.jsonl", "--corpus", "none").stderr


def test_likeness_is_an_option(evals, tmp_path: Path) -> None:
    lines = [{"id": f"q{i}", "input": f"What is the price of item number {i} here"} for i in range(2)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "near-duplicate" in evals("data", "lint", "d.jsonl").stdout
    assert "near-duplicate" not in evals("data", "lint", "d.jsonl", "--similar", "0.95").stdout


def split(evals, *more: object):
    return evals("data", "split", "d.jsonl", *more)


FRACTIONS = ("--fraction", "dev=0.3", "--fraction", "test=0.7", "--salt", "spring")


def test_splits_are_frozen_in_the_card_and_nothing_else_in_it_changes(evals, file: Path) -> None:
    card = file.parent / "card.yaml"
    card.write_text(ABOUT)
    found = json.loads(split(evals, *FRACTIONS, "--json").stdout)["splits"]
    assert card.read_text().startswith(ABOUT)
    assert found == yaml.safe_load(card.read_text())["splits"]
    assert found["test"]["digest"] == dataset.load_split(file, "test").digest
    assert found["dev"]["rows"] + found["test"]["rows"] == 40
    result = evals("data", "lint", file)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "nothing to mend")
    assert f"splits: dev {found['dev']['rows']}, test {found['test']['rows']}" in result.stdout
    before = card.read_text()
    assert split(evals).exit_code == 0
    assert card.read_text() == before


def test_a_full_disk_leaves_the_card_as_it_was(evals, file: Path) -> None:
    card = file.parent / "card.yaml"
    card.write_text(ABOUT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
    try:
        result = split(evals, *FRACTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (result.exit_code, card.read_text()) == (3, ABOUT)
    assert "the card 'card.yaml' cannot be written: File too large; it is as it was" in result.stderr
    assert sorted(path.name for path in file.parent.iterdir()) == ["card.yaml", "d.jsonl"]


def test_a_changed_data_set_is_an_error_until_it_is_frozen_anew(evals, file: Path) -> None:
    (file.parent / "card.yaml").write_text(ABOUT)
    split(evals, *FRACTIONS)
    file.write_text(file.read_text().replace('"reference": "7"', '"reference": "8"'))
    result = evals("data", "lint", file)
    assert result.exit_code == 3
    assert "error digest: the file is" in result.stdout
    assert " changed: the card froze" in result.stdout
    refused = split(evals)
    assert (refused.exit_code, "--refreeze" in refused.stderr) == (3, True)
    assert split(evals, "--refreeze").exit_code == 0
    assert evals("data", "lint", file).exit_code == 0


def test_other_fractions_are_refused_while_something_is_frozen(evals, file: Path) -> None:
    card = file.parent / "card.yaml"
    card.write_text(ABOUT)
    split(evals, *FRACTIONS)
    before = card.read_text()
    others = ("--fraction", "dev=0.5", "--fraction", "held=0.5", "--salt", "spring")
    result = split(evals, *others)
    assert (result.exit_code, card.read_text()) == (3, before)
    assert "'test' would change" in result.stderr or "'dev', 'test' would change" in result.stderr
    assert split(evals, *others, "--refreeze").exit_code == 0
    found = cards.load(file)
    assert found is not None
    assert sorted(found.splits) == ["dev", "held"]


@pytest.mark.parametrize(
    ("card", "flags", "expected"),
    [
        (None, FRACTIONS, "expected a card 'card.yaml' to freeze the splits in, found none: write it:"),
        (ABOUT, (), "names no split of 'd.jsonl': give --fraction NAME=SHARE twice, and --salt"),
        (ABOUT, ("--salt", "s"), "--fraction and --salt go together"),
        (ABOUT, ("--salt", "s", "--fraction", "a=0.5", "--fraction", "b=0.1"), "1 together, found 0.6"),
        (ABOUT, ("--salt", "s", "--fraction", "a", "--fraction", "b=0.1"), "expected a number, found ''"),
        (ABOUT + "file: other.jsonl\n", FRACTIONS, "the card is about 'other.jsonl', not 'd.jsonl'"),
        ("{name: q, owner: me, licence: x, made: y}", FRACTIONS, "cannot be changed without losing its layout"),
        (ABOUT, ("--salt", "s", "--fraction", "a=0.999999", "--fraction", "b=0.000001"), "split 'b' has no samples"),
    ],
)
def test_what_keeps_splits_from_being_frozen(
    evals, file: Path, card: str | None, flags: tuple[str, ...], expected: str
) -> None:
    path = file.parent / "card.yaml"
    if card is not None:
        path.write_text(card)
    result = split(evals, *flags)
    assert result.exit_code in (2, 3)
    assert expected in result.stderr
    assert (path.read_text() if path.exists() else None) == card


def test_the_table_of_splits(evals, file: Path) -> None:
    (file.parent / "card.yaml").write_text(ABOUT)
    shown = split(evals, *FRACTIONS).stdout
    row = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["test"])
    part = dataset.load_split(file, "test")
    assert row == ["test", str(len(part.samples)), str(len({s.cluster for s in part.samples})), part.digest]
    assert "frozen in 'card.yaml'" in shown
