"""What a batch engine answered, as a run log: read, matched to its requests, scored by the suite's own scorers.

    the batch file is the one that the suite writes -> each result to its request -> score -> record

A request without a result, or with two, is missing evidence; a result of no request is told. An error of the engine is
what it would be in a run.
"""

import asyncio
import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from evals import run_log, scorers
from evals.client import Result, read_response
from evals.composition import Plan, manifest_of, request_of
from evals.equipment import Outside, equipped
from evals.exchange import requests
from evals.exchange.requests import Key, custom_id
from evals.lines import Manifest, Record, Source
from evals.runner import Doubts, judged
from evals.schema import Failure, Sample, Score, outcome_of
from evals.scorers.base import Services
from gateway.contracts import canonical
from gateway.contracts.errors import InputError
from gateway.contracts.release import ReleaseManifest

TOOL = "batch"
_DAY = re.compile(r"-\d{4}-?\d\d-?\d\d")


class _Response(msgspec.Struct):
    status_code: int = 200
    body: Any = None


class _Row(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class Matched:
    """Results by custom_id; ids of no request, ids with several results, lines that are no result.

    `foreign` has the model that an answer says it is of, by custom_id, where another one was asked.
    """

    results: dict[str, Result]
    unknown: tuple[str, ...]
    twice: tuple[str, ...]
    unreadable: tuple[str, ...]
    foreign: dict[str, str]


@dataclass(frozen=True, slots=True)
class Files:
    """The batch file, the files of results (OpenAI writes errors into one of their own), and the log to write.

    `release` is the one that the person says answered, `answered_as` what the engine calls models in its answers.
    """

    batch: Path
    results: tuple[Path, ...]
    out: Path
    release: ReleaseManifest | None = None
    answered_as: tuple[str, ...] = ()


def match(files: Iterable[Path], wanted: Mapping[str, str], answered_as: Collection[str] = ()) -> Matched:
    """Read results; `wanted` has the model that is asked, by custom_id.

    Raises InputError for a file that cannot be read; a line that cannot be is told.
    """
    results: dict[str, Result] = {}
    foreign: dict[str, str] = {}
    unknown, twice, unreadable = [], [], []
    for where, row in (pair for path in files for pair in _rows(path)):
        if row is None:
            unreadable.append(where)
        elif (asked := wanted.get(row.custom_id)) is None:
            unknown.append(row.custom_id)
        elif row.custom_id in results:
            twice.append(row.custom_id)
        else:
            results[row.custom_id] = _result(row)
            named = _model(row)
            if named is not None and named not in answered_as and not _is(named, asked):
                foreign[row.custom_id] = named
    said = Failure("not_reported", "the results hold several answers to this request: which one counts is unknown")
    results |= {name: Result(failure=said) for name in twice}
    for name, model in foreign.items():
        told = f"the answer says that it is of {model!r}, and {wanted[name]!r} was asked"
        results[name] = Result(failure=Failure("not_reported", told))
    return Matched(results, tuple(unknown), tuple(dict.fromkeys(twice)), tuple(unreadable), foreign)


def _rows(path: Path) -> Iterator[tuple[str, _Row | None]]:
    try:
        data = path.read_bytes().removeprefix(BOM_UTF8)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}: name the results of the batch") from error
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            try:
                yield "", msgspec.json.decode(line, type=_Row)
            except (msgspec.DecodeError, UnicodeDecodeError):
                yield f"{str(path)!r}, line {number}", None


def _model(row: _Row) -> str | None:
    """The model that an answer says it is of; None where it says nothing."""
    body = row.response.body if row.response is not None else None
    named = body.get("model") if isinstance(body, dict) else None
    return named if isinstance(named, str) and named else None


def _is(named: str, asked: str) -> bool:
    """Whether a name is that of the model that was asked, or of its snapshot of one day: `gpt-4.1-2025-04-14`."""
    return named == asked or (named.startswith(asked) and _DAY.fullmatch(named[len(asked) :]) is not None)


def _result(row: _Row) -> Result:
    """What a row means: a response is read like one over HTTP; an error without one is missing evidence."""
    if row.response is not None and row.response.status_code != 0:
        body = row.response.body if row.response.body is not None else row.error
        if isinstance(body, dict) and "error" not in body and row.response.status_code != 200:
            body = {"error": body}
        result = read_response(row.response.status_code, {}, msgspec.json.encode(body), 0.0)
        return msgspec.structs.replace(result, retryable=False)
    said = row.error if isinstance(row.error, str) else msgspec.json.encode(row.error).decode()
    return Result(failure=Failure("not_reported", f"the batch engine gave no response: {said[:300]}"))


async def read(plan: Plan, files: Files, outside: Outside) -> Matched:
    """Score the results of a batch and write them as a sealed log. Raises InputError, and then writes nothing."""
    if plan.suite.retrieval is not None:
        raise InputError("the suite retrieves passages, which go into the question: a batch cannot; use `evals run`")
    request = request_of(plan.suite, plan.target)
    digest = requests.check(_bytes(files.batch), plan.data, request)
    jobs = [(sample, key) for sample, key, _ in requests.lines(plan.data, request)]
    wanted = {custom_id(*key): request.asked(key[2]) for _, key in jobs}
    matched = match(files.results, wanted, files.answered_as)
    if not matched.results:
        raise InputError("no result belongs to a request of the batch file: are these the results of this batch?")
    if len(matched.foreign) == len(matched.results):
        name, model = next(iter(matched.foreign.items()))
        raise InputError(
            f"every answer says that it is of another model ({model!r}, where {wanted[name]!r} was asked): are these "
            f"the results of this batch? If the engine calls it so, add --answered-as {model}"
        )
    async with equipped(plan.suite, plan.folder, outside) as equipment:
        manifest = _manifest(manifest_of(plan, equipment.identity), files, digest)
        records = await _scored(plan, jobs, matched, equipment.services)
    run_log.write_whole(files.out, manifest, records)
    return matched


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}: `evals batch write` makes it") from error


def targeted(plan: Plan, batch: Path) -> Plan:
    """The plan with the models that a batch file asks, and its limit where it holds a part. Raises InputError."""
    found = _bytes(batch)
    asked = requests.models(found)
    arms = len(asked)
    held, rest = divmod(len(found.rstrip(b"\n").split(b"\n")), arms * plan.suite.epochs)
    part = held if not rest and held < len(plan.data.samples) else None
    target = replace(plan.target, model=asked["candidate"], baseline=asked.get("baseline"), limit=part)
    return replace(plan, target=target)


def _manifest(manifest: Manifest, files: Files, digest: str) -> Manifest:
    read_from = {path.name: canonical.file_digest(path) for path in files.results}
    source = Source(
        tool=TOOL,
        version="file",
        files={files.batch.name: digest, **read_from},
        release=files.release.name if files.release else None,
        release_digest=files.release.digest() if files.release else None,
    )
    return msgspec.structs.replace(manifest, imported=source, base_url="", concurrency=None)


async def _scored(plan: Plan, jobs: list[tuple[Sample, Key]], matched: Matched, services: Services) -> list[Record]:
    """One record for each request, in their order; as many are judged at a time as the suite allows.

    Raises InputError when the judge has no verdict on any of the first answers, as a run does.
    """
    doubts = Doubts()
    judging, built = asyncio.Semaphore(plan.suite.concurrency), scorers.build_all(plan.suite.scorers)
    nothing = Result(failure=Failure("not_reported", "the results hold no answer to this request"))

    async def one(sample: Sample, key: Key) -> Record:
        result = matched.results.get(custom_id(*key), nothing)
        scores: dict[str, Score] = {}
        failure = result.failure
        if result.answer is not None and failure is None:
            async with judging:
                if not doubts.enough:
                    scores, failure = await judged(sample, result.answer, built, services, {})
                    if failure is None or failure.kind == "judge_failed":
                        doubts.add(failure)
        return Record(
            id=sample.id,
            digest=plan.data.digests[sample.id],
            outcome=outcome_of(failure.kind) if failure else "scored",
            epoch=key[1],
            arm=key[2],
            cluster=sample.cluster,
            tags=sample.tags,
            scores=scores,
            failure=failure,
            answer=result.answer,
            attempts=0 if result is nothing else 1,
        )

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(sample, key)) for sample, key in jobs]
    doubts.check("mend the judge; the same command then judges all of them")
    return [task.result() for task in tasks]
