from collections.abc import Mapping

import pytest

from evals.dataset import near
from evals.dataset.duplicates import check
from evals.schema import Sample

LONG = "How expensive is the Free plan of Orbit per month"


def found(*samples: Sample, splits: Mapping[str, str] | None = None) -> list[tuple[str, str, list[str]]]:
    return [(f.level, f.code, f.samples) for f in check(samples, splits or {})]


def sample(name: str, text: str = LONG, **more: object) -> Sample:
    return Sample(id=name, input=text, **more)


def test_the_same_input_twice_is_a_warning_and_across_splits_an_error() -> None:
    pair = sample("a"), sample("b", LONG.upper() + "?")
    assert found(*pair) == [("warning", "duplicate-input", ["a", "b"])]
    assert found(*pair, splits={"a": "dev", "b": "dev"}) == [("warning", "duplicate-input", ["a", "b"])]
    assert found(*pair, splits={"a": "dev", "b": "test"}) == [("error", "duplicate-input", ["a", "b"])]


def test_one_question_with_two_answers_is_a_contradiction() -> None:
    codes = [code for _, code, _ in found(sample("a", reference="5"), sample("b", reference="6"))]
    assert codes == ["duplicate-input", "contradiction"]


def test_the_same_question_about_other_passages_is_another_one_but_not_an_independent_one() -> None:
    first, second = sample("a", contexts=["x"]), sample("b", contexts=["y"])
    assert found(first, second) == [("warning", "near-duplicate", ["a", "b"])]
    assert not found(sample("a", contexts=["x"], cluster="c"), sample("b", contexts=["y"], cluster="c"))


def test_near_duplicates_belong_in_one_cluster() -> None:
    near_one = LONG + " please"
    assert found(sample("a"), sample("b", near_one)) == [("warning", "near-duplicate", ["a", "b"])]
    assert found(sample("a", cluster="c"), sample("b", near_one, cluster="d")) == [
        ("warning", "near-duplicate", ["a", "b"])
    ]
    assert not found(sample("a", cluster="c"), sample("b", near_one, cluster="c"))


def test_near_duplicates_across_splits_are_an_error() -> None:
    pair = sample("a"), sample("b", LONG + " please")
    assert found(*pair, splits={"a": "dev", "b": "test"}) == [("error", "near-duplicate", ["a", "b"])]
    assert found(*pair, splits={"a": "dev"}) == [("warning", "near-duplicate", ["a", "b"])]


def test_the_pair_across_splits_is_the_one_that_is_shown() -> None:
    three = sample("a", cluster="1"), sample("b", cluster="1"), sample("c", LONG + " please", cluster="2")
    near_ones = [f for f in found(*three, splits={"a": "test", "b": "dev", "c": "test"}) if f[1] == "near-duplicate"]
    assert near_ones == [("error", "near-duplicate", ["b", "c"])]


def test_texts_and_likeness_are_in_the_message() -> None:
    (finding,) = check([sample("a"), sample("b", LONG + " please")], {})
    assert "'How expensive is the Free plan" in finding.message
    assert "alike (0.8" in finding.message


def test_limits_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MOST_PAIRS", 1)
    many = [sample(f"s{i}", f"what is the price of item number {i}") for i in range(30)]
    assert found(*many)[-1][:2] == ("warning", "near-duplicate-limit")
    monkeypatch.setattr(near, "_MOST_CHARACTERS", 10)
    assert found(sample("a", "x" * 300), sample("b"))[-1][:2] == ("warning", "near-duplicate-limit")
