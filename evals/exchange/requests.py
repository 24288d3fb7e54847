"""A run as a batch file: one line for each sample, epoch and arm, with exactly the body that the runner would send.

    {"custom_id":"candidate/0/q01","method":"POST","url":"/v1/chat/completions","body":{...}}

`vllm run-batch` and OpenAI's batch API read this format. The file is a function of suite, data set and models: whoever
reads the results writes it again, and so knows whether the answers belong to these questions.
"""

import hashlib
from collections.abc import Iterator
from itertools import takewhile

import msgspec

from evals.asking import Request
from evals.dataset import Dataset
from evals.schema import Arm, Sample
from gateway.contracts.errors import InputError

Key = tuple[str, int, Arm]
URL = "/v1/chat/completions"


class Line(msgspec.Struct, frozen=True):
    """One request. `body` is JSON as it would be sent."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Body(msgspec.Struct):
    """What is read of a body that somebody may have edited."""

    model: str


def custom_id(sample_id: str, epoch: int, arm: Arm) -> str:
    """The name of a request in the file, and of its answer in the results."""
    return f"{arm}/{epoch}/{sample_id}"


def lines(data: Dataset, request: Request) -> Iterator[tuple[Sample, Key, bytes]]:
    """Each request of a run, in the order of the file, without the newline. Raises InputError for a conversation."""
    for epoch in range(request.epochs):
        for sample in data.samples[: request.limit]:
            _refuse(sample)
            for arm in request.arms():
                body = request.body(request.messages(sample), epoch, arm, sample.tools)
                line = Line(custom_id(sample.id, epoch, arm), "POST", URL, msgspec.Raw(body))
                yield sample, (sample.id, epoch, arm), msgspec.json.encode(line)


def _refuse(sample: Sample) -> None:
    """Raise InputError for what a file of requests cannot hold."""
    if sample.follow_ups:
        raise InputError(
            f"sample {sample.id!r} has follow_ups, which are asked when an answer is there: a batch cannot; use "
            "`evals run`"
        )
    if sample.contexts:
        raise InputError(f"sample {sample.id!r} has contexts, which `evals run` puts into the question: use that")


def written(data: Dataset, request: Request) -> bytes:
    """The whole file. Raises InputError."""
    return b"".join(line + b"\n" for _, _, line in lines(data, request))


def check(found: bytes, data: Dataset, request: Request) -> str:
    """The digest of a batch file that holds the requests of this run and no others. Raises InputError, naming a line.

    The line breaks at the end may differ, for some tools drop the last.
    """
    theirs = found.rstrip(b"\n").split(b"\n")
    ours = [line for _, _, line in lines(data, request)]
    for number, (line, expected) in enumerate(zip(theirs, ours, strict=False), start=1):
        if line.rstrip(b"\r") != expected:
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(line, expected, strict=False)))
            at = max(0, same - 20)
            raise InputError(
                f"the batch file, line {number}: expected {expected[at : at + 120]!r}, found {line[at : at + 120]!r}: "
                "suite, data set or file were changed after `evals batch write`"
            )
    if len(theirs) != len(ours):
        raise InputError(
            f"the batch file has {len(theirs)} requests, and the suite asks {len(ours)}: write it again, for the suite "
            "or its data set changed"
        )
    return "sha256:" + hashlib.sha256(found).hexdigest()


def models(found: bytes) -> dict[Arm, str]:
    """The models that a batch file asks, by arm. Raises InputError for a file that is none."""
    asked: dict[Arm, str] = {}
    for number, line in enumerate(found.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            read = msgspec.json.decode(line, type=Line)
            model = msgspec.json.decode(read.body, type=_Body).model
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise InputError(f"the batch file, line {number}: no request of `evals batch write` ({error})") from error
        arm: Arm = "baseline" if read.custom_id.startswith("baseline/") else "candidate"
        if asked.setdefault(arm, model) != model:
            raise InputError(f"the batch file, line {number}: asks {model!r}, and the lines before {asked[arm]!r}")
    if "candidate" not in asked:
        raise InputError("the batch file holds no request: `evals batch write` makes one")
    return asked
