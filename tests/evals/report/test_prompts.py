from pathlib import Path

import msgspec
import pytest

from evals.report import prompts
from gateway.contracts.errors import InputError


def of(make_evidence, data):
    return msgspec.structs.replace(make_evidence({"a": 1.0}).log.manifest, dataset_sha256=data.digest)


def test_the_named_data_set_is_used_when_it_is_the_one_of_the_run(make_evidence, questions) -> None:
    data = questions(["a"])
    assert prompts.find(data.path, None, of(make_evidence, data)).data == data


def test_another_one_is_refused(make_evidence, questions) -> None:
    data = questions(["a"])
    with pytest.raises(InputError, match="expected the file that was run, as it was then"):
        prompts.find(data.path, None, make_evidence({"a": 1.0}).log.manifest)


def test_without_one_the_reader_is_told_how_to_give_it(make_evidence) -> None:
    found = prompts.find(None, None, make_evidence({"a": 1.0}).log.manifest)
    assert (found.data, "give the data set with --dataset FILE" in found.why) == (None, True)


def test_that_of_the_gate_file_is_a_help_and_no_order(make_evidence, questions) -> None:
    data = questions(["a"])
    assert prompts.find(None, data.path, of(make_evidence, data)).data == data
    other = prompts.find(None, data.path, make_evidence({"a": 1.0}).log.manifest)
    absent = prompts.find(None, Path("nowhere.jsonl"), of(make_evidence, data))
    assert (other.data, absent.data) == (None, None)
    assert "expected the file that was run" in other.why
    assert "nowhere.jsonl" in absent.why
