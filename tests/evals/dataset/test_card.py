from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evals.dataset import card
from evals.dataset.card import Card
from gateway.contracts.errors import DocumentError, InputError

GOOD = "name: q\nowner: me\nlicence: CC0-1.0\nmade: by hand\n"
DIGEST = "sha256:" + "a" * 64
DATASETS = Path(__file__).parents[3] / "datasets"


def load(folder: Path, text: str) -> Card:
    (folder / "card.yaml").write_text(text)
    found = card.load(folder / "d.jsonl")
    assert found is not None
    return found


@pytest.mark.parametrize("file", ["orbit-faq/train.jsonl", "orbit-faq/heldout.jsonl", "recite/recite.jsonl"])
def test_the_cards_here_are_cards(file: str) -> None:
    found = card.load(DATASETS / file)
    assert found is not None
    assert found.speaks_of(DATASETS / file)


def test_no_card_is_none_and_the_template_is_one(tmp_path: Path) -> None:
    assert card.load(tmp_path / "d.jsonl") is None
    found = load(tmp_path, card.template(tmp_path / "d.jsonl", DIGEST))
    assert (found.file, found.digest) == ("d.jsonl", DIGEST)


@pytest.mark.parametrize(
    ("more", "line", "expected"),
    [
        ("license: x\n", 5, "unknown key 'license': did you mean 'licence'?"),
        ("licences: x\n", 5, "unknown key 'licences'"),
        ("digest: abc\n", 5, "pattern"),
        (f"digest: {DIGEST}\n", 1, "missing key 'file'"),
        ("file: d.jsonl\nassign: {salt: s, fractions: {a: 0.5, b: 0.6}}\n", 6, "1 together, found 1.1"),
        ("file: d.jsonl\nassign: {salt: s, fractions: {a: 0.5, b: 0}}\n", 6, "greater than 0"),
        ("file: d.jsonl\nassign: {salt: '', fractions: {a: 0.5, b: 0.5}}\n", 6, "at least 1 character"),
        ("file: d.jsonl\nsplits: {test: {rows: 3}}\n", 1, "split 'test': expected `file`, `ids`, or a share"),
        ("splits: {test: {file: t.jsonl, ids: [a]}}\n", 5, "found both"),
        ("splits: {test: {file: t.jsonl, rows: 0}}\n", 5, "greater than or equal to 1"),
        (f"file: d.jsonl\nsplits: {{test: {{ids: [a], sha256: {'a' * 64}}}}}\n", 6, "of a split's own file"),
        (
            "file: d.jsonl\nassign: {salt: s, fractions: {a: 0.5, b: 0.5}}\nsplits: {a: {ids: [x]}}\n",
            1,
            "a place of its own: keep one",
        ),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(tmp_path: Path, more: str, line: int, expected: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load(tmp_path, GOOD + more)
    assert [m.line for m in caught.value.mistakes if expected in m.message] == [line], str(caught.value)


@pytest.mark.parametrize("key", ["name", "owner", "licence", "made"])
def test_whose_it_is_and_how_it_was_made_is_required(tmp_path: Path, key: str) -> None:
    kept = "".join(line + "\n" for line in GOOD.splitlines() if not line.startswith(key))
    with pytest.raises(DocumentError, match=f"missing key '{key}'"):
        load(tmp_path, kept)


def test_changing_keys_leaves_comments_and_the_rest_alone() -> None:
    text = "# Ours.\nname: q  # short\nsplits:\n  a: {rows: 1}\n\n# who\nowner: me\n"
    changed = card.with_keys(text, {"splits": {"b": {"rows": 2}}, "digest": DIGEST}, "card.yaml")
    assert changed == (f"# Ours.\nname: q  # short\nsplits:\n  b:\n    rows: 2\n\n# who\nowner: me\ndigest: {DIGEST}\n")


@given(
    before=st.dictionaries(st.sampled_from("abcd"), st.one_of(st.integers(), st.lists(st.text("x \n#:", max_size=3)))),
    changes=st.dictionaries(st.sampled_from("abcde"), st.dictionaries(st.text("yz#", min_size=1), st.booleans())),
)
def test_changing_keys_changes_these_keys(before: dict[str, Any], changes: dict[str, Any]) -> None:
    text = yaml.safe_dump(before, sort_keys=False) if before else ""
    assert (yaml.safe_load(card.with_keys(text, changes, "card.yaml")) or {}) == {**before, **changes}


def test_a_layout_that_cannot_be_kept_is_refused_with_what_to_write() -> None:
    with pytest.raises(InputError, match="put this in yourself:\nversion: 2"):
        card.with_keys("{name: q, version: 1}\n", {"version": 2}, "card.yaml")
