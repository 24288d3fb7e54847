from pathlib import Path
from typing import Any

import pytest

from evals.dataset import lint, load
from evals.dataset.card import Card
from evals.schema import Sample
from gateway.contracts.errors import DocumentError

ABOUT = {"name": "q", "owner": "me", "licence": "CC0-1.0", "made": "by hand"}
ANSWER = "The Team plan costs 29 dollars."


def tagged(*tags: list[str]) -> list[Sample]:
    return [Sample(id=f"q{i}", input="x", tags=each) for i, each in enumerate(tags)]


def test_mistakes_of_a_file_become_findings(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"id": "a", "input": "q"}\n{"id": \n{"id": "a", "input": "q"}\n')
    with pytest.raises(DocumentError) as caught:
        load(path)
    found = lint.broken(caught.value)
    assert [(f.level, f.code, f.line) for f in found] == [("error", "schema", 2), ("error", "duplicate-id", 3)]


@pytest.mark.parametrize(
    ("reference", "wrong"), [("", True), (" ", True), (["a", ""], True), ("a", False), (None, False)]
)
def test_an_empty_reference_is_an_error(reference: Any, wrong: bool) -> None:
    found = list(lint.references([Sample(id="a", input="x", reference=reference)]))
    assert [(f.level, f.code, f.samples) for f in found] == ([("error", "empty-reference", ["a"])] if wrong else [])


def test_a_tag_that_occurs_once_is_named_with_the_one_that_was_meant() -> None:
    found = list(lint.tags(tagged(["billing"], ["billing"], ["biling"], ["zebra"])))
    assert [f.code for f in found] == ["rare-tag", "rare-tag"]
    assert found[0].message == "the tag 'biling' occurs once, on 'q2': did you mean 'billing'?"
    assert "did you mean" not in found[1].message


def test_spellings_of_one_tag_are_named_together() -> None:
    (found,) = lint.tags(tagged(["new-plan"], ["new-plan"], ["New_Plan"], ["other"], ["other"]))
    assert found.code == "tag-spelling"
    assert "'New_Plan' (1), 'new-plan' (2)" in found.message


def test_the_tags_of_a_single_sample_and_repeated_tags_are_no_finding() -> None:
    assert list(lint.tags(tagged(["a", "b"]))) == []
    assert [f.code for f in lint.tags(tagged(["a", "a"], ["b"], ["b"]))] == ["rare-tag", "rare-tag"]


def prompts(sample: Sample, system: str | None) -> list[tuple[str, str]]:
    return [(f.level, f.code) for f in lint.prompts([sample], system)]


def test_a_question_in_the_prompt_is_an_error_and_an_answer_a_warning() -> None:
    sample = Sample(id="a", input="How much is Team?", reference=ANSWER)
    assert prompts(sample, None) == []
    assert prompts(sample, "Be brief.") == []
    assert prompts(sample, "Example: how much is team? Say the price.") == [("error", "in-prompt")]
    assert prompts(sample, f"Know this: {ANSWER.upper()}") == [("warning", "in-prompt")]


def test_labels_in_a_prompt_give_nothing_away() -> None:
    assert prompts(Sample(id="a", input="I want my money", reference="billing"), "Say billing or other.") == []
    assert prompts(Sample(id="a", input="Team", reference="x"), "About the Team plan.") == []


def test_a_samples_own_system_message_counts_as_prompt() -> None:
    messages = [{"role": "system", "content": ANSWER}, {"role": "user", "content": "How much is Team?"}]
    assert prompts(Sample(id="a", input=messages, reference=ANSWER), None) == [("warning", "in-prompt")]


def card(data: Any, **more: Any) -> list[tuple[str, str]]:
    found = Card.model_validate({**ABOUT, **more}) if more else None
    return [(f.level, f.code) for f in lint.card(found, data)]


def test_the_card_is_held_against_the_file(data) -> None:
    loaded = data({"id": "a", "input": "x"})
    assert card(loaded) == [("warning", "no-card")]
    assert card(loaded, version="1") == [("warning", "no-card")]
    assert card(loaded, file="d.jsonl") == [("warning", "digest")]
    assert card(loaded, file="d.jsonl", digest=loaded.digest) == []
    assert card(loaded, file="d.jsonl", digest="sha256:" + "a" * 64) == [("error", "digest")]
    assert card(loaded, splits={"test": {"file": "d.jsonl", "digest": loaded.digest}}) == []
    assert card(loaded, splits={"test": {"file": "d.jsonl", "digest": "sha256:" + "a" * 64}}) == [("error", "split")]


def test_a_missing_card_comes_with_one_to_fill_in(data) -> None:
    loaded = data({"id": "a", "input": "x"})
    (found,) = lint.card(None, loaded)
    assert "owner: WHO ANSWERS FOR IT\n" in found.message
    assert f"digest: {loaded.digest}" in found.message


def test_other_files_that_a_card_names_are_checked(data, tmp_path: Path) -> None:
    loaded = data({"id": "a", "input": "x"})
    (tmp_path / "made.py").write_text("")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    good = Card.model_validate({**ABOUT, "files": {"made.py": empty}})
    assert list(lint.files(good, loaded)) == []
    assert list(lint.files(None, loaded)) == []
    bad = Card.model_validate({**ABOUT, "files": {"made.py": "a" * 64, "gone.py": empty}})
    assert [("is missing" in f.message, f.level) for f in lint.files(bad, loaded)] == [
        (False, "error"),
        (True, "error"),
    ]
