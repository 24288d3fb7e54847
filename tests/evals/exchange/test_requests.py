"""Batch files: what they hold, and how they are recognised."""

import json
from pathlib import Path

import pytest

from evals import dataset
from evals.asking import Request
from evals.dataset import Dataset
from evals.exchange import requests
from evals.schema import Sample
from gateway.contracts.errors import InputError

REQUEST = Request("faq", {"temperature": 0, "seed": 7}, system="Be brief.", epochs=2, baseline="old")


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Two samples, one of them with tools."""
    tool = {"type": "function", "function": {"name": "look"}}
    dataset.save(tmp_path / "d.jsonl", [Sample(id="a", input="one"), Sample(id="b/ü", input="two", tools=[tool])])
    return dataset.load(tmp_path / "d.jsonl")


def test_each_sample_epoch_and_arm_is_a_request(data: Dataset) -> None:
    rows = [json.loads(line) for line in requests.written(data, REQUEST).splitlines()]
    assert [row["custom_id"] for row in rows] == [
        "candidate/0/a", "baseline/0/a", "candidate/0/b/ü", "baseline/0/b/ü",
        "candidate/1/a", "baseline/1/a", "candidate/1/b/ü", "baseline/1/b/ü",
    ]  # fmt: skip
    assert {(row["method"], row["url"]) for row in rows} == {("POST", "/v1/chat/completions")}


def test_the_body_is_the_one_that_a_run_sends(data: Dataset) -> None:
    for sample, (_, epoch, arm), line in requests.lines(data, REQUEST):
        sent = REQUEST.body(REQUEST.messages(sample), epoch, arm, sample.tools)
        assert line.endswith(b',"body":' + sent + b"}")


def test_the_file_is_recognised(data: Dataset) -> None:
    content = requests.written(data, REQUEST)
    assert requests.check(content, data, REQUEST).startswith("sha256:")
    assert requests.check(content.rstrip(b"\n"), data, REQUEST) != requests.check(content, data, REQUEST)
    assert requests.models(content) == {"candidate": "faq", "baseline": "old"}


def test_a_changed_line_is_named_with_what_differs(data: Dataset) -> None:
    content = requests.written(data, REQUEST).replace(b"two", b"too", 1)
    with pytest.raises(InputError, match=r"line 3: expected b'.*two.*', found b'.*too.*': suite, data set or file"):
        requests.check(content, data, REQUEST)


def test_a_missing_and_an_added_line_are_told(data: Dataset) -> None:
    content = requests.written(data, REQUEST)
    last = content.splitlines(keepends=True)[-1]
    for changed, count in ((content.removesuffix(last), 7), (content + last, 9)):
        with pytest.raises(InputError, match=f"has {count} requests, and the suite asks 8"):
            requests.check(changed, data, REQUEST)


def test_conversations_and_contexts_are_refused() -> None:
    for sample, said in (
        (Sample(id="a", input="x", follow_ups=["y"]), "has follow_ups"),
        (Sample(id="a", input="x", contexts=["y"]), "has contexts"),
    ):
        with pytest.raises(InputError, match=f"sample 'a' {said}.*evals run"):
            requests.written(Dataset(Path("d"), (sample,), {}, ""), REQUEST)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nothing", "line 1: no request of `evals batch write`"),
        (b'{"custom_id":"candidate/0/a","method":"POST","url":"/","body":{}}', "line 1: no request"),
        (
            b'{"custom_id":"candidate/0/a","method":"POST","url":"/","body":{"model":5}}',
            "line 1: no request .*got `int`",
        ),
        (b'{"custom_id":"a","method":"POST","url":"/","body":' + b"[" * 99_999 + b"]" * 99_999 + b"}", "recursion"),
        (b"\n", "holds no request"),
    ],
)
def test_other_files_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        requests.models(content)


def test_a_file_for_two_models_of_one_arm_is_refused(data: Dataset) -> None:
    other = requests.written(data, Request("else", {}))
    with pytest.raises(InputError, match="line 9: asks 'else', and the lines before 'faq'"):
        requests.models(requests.written(data, REQUEST) + other)
