"""promptfoo: the JSON that `promptfoo eval -o results.json` writes.

A sample is what a test case fills in (its vars) with its assertions; the prompt belongs to what is tested. promptfoo's
pass rate leaves out results with an error; here they count. With `--repeat` its results are epochs. Where promptfoo
asked through Tollgate's gateway, the headers that it keeps name the release that answered.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.client import COST, DIGEST, RELEASE, REPLICA
from evals.exchange.files import read_object
from evals.exchange.imported import UNREAD, Choice, Found, Imported, chosen, failure_of, silent, tags_of
from evals.schema import Answer, Failure, Sample
from gateway.contracts.errors import InputError

TOOL = "promptfoo"
_OWN_VARS = frozenset({"_conversation", "sessionId"})
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_ERROR = 2
"""`failureReason` of a result that is an error; 1 is a failed assertion, 0 neither."""

Row = Mapping[str, Any]


def read(path: Path, choice: Choice) -> Imported:
    """Read one column of the results: one provider with one prompt. Raises InputError."""
    told = read_object(path, "promptfoo's results")
    results, made = told.get("results"), told.get("metadata") or {}
    if not isinstance(results, dict) or not isinstance(results.get("results"), list):
        raise InputError(f"{str(path)!r}: expected promptfoo's results, found no list `results.results`: was it -o?")
    number, column = _column(results, choice, path)
    rows = [row for row in results["results"] if row.get("promptIdx") == number]
    epochs = max(1, int((told.get("runtimeOptions") or {}).get("repeat") or 1))
    placed = list(_placed(rows, epochs))
    samples = {name: _sample(name, row, choice) for name, _, row in placed}
    lost = _lost(column, len(rows))
    unread = [Sample(id=f"lost-{position + 1}", input=UNREAD) for position in range(-(-lost // epochs))]
    metrics, left_out = _metrics(rows)
    config = told.get("config") or {}
    return Imported(
        tool=TOOL,
        version=str(made.get("promptfooVersion", "unknown")),
        suite=_UNSAFE.sub("-", str(config.get("description") or "promptfoo")).strip("-._")[:64] or "promptfoo",
        dataset=path.name,
        model=str(column.get("provider", "unknown")),
        files=(path,),
        samples=(*samples.values(), *unread),
        results=tuple(_found(name, epoch, row) for name, epoch, row in placed),
        metrics=chosen(choice.metrics, metrics, f"{str(path)!r}: --metric: every result"),
        epochs=epochs,
        total=max(len(samples) + len(unread), _configured(config)),
        left_out=left_out,
        created=str(made.get("evaluationCreatedAt", "")),
    )


def _column(results: Mapping[str, Any], choice: Choice, path: Path) -> tuple[int, Row]:
    """Number, from 0, and head of the column that was asked for. Raises InputError when there are several."""
    columns: list[Row] = results.get("prompts") or []
    if not columns:
        raise InputError(f"{str(path)!r} names no prompts: expected what `promptfoo eval -o FILE.json` writes")
    listed = "; ".join(f"{i}: {each.get('provider')}, {each.get('label')!r:.60}" for i, each in enumerate(columns, 1))
    if choice.column is None and len(columns) > 1:
        raise InputError(f"{str(path)!r} holds {len(columns)} columns: choose one with --column ({listed})")
    number = (choice.column or 1) - 1
    if number >= len(columns):
        raise InputError(f"--column {number + 1}: {str(path)!r} has no such column: it has {listed}")
    return number, columns[number]


def _given(row: Row) -> dict[str, Any]:
    """What a test case is: what it fills in and how it is judged."""
    case = row.get("testCase") or {}
    filled = {key: value for key, value in (row.get("vars") or {}).items() if key not in _OWN_VARS}
    judged = [{**each, "value": each.get("value")} for each in case.get("assert") or ()]
    return {"vars": filled, "assert": judged, "threshold": case.get("threshold")}


def _name(row: Row) -> str:
    """An id that depends on the test case alone, so that two runs of it agree whatever else they hold."""
    digest = hashlib.sha256(json.dumps(_given(row)["vars"], sort_keys=True).encode()).hexdigest()[:12]
    said = _UNSAFE.sub("-", str((row.get("testCase") or {}).get("description") or "")).strip("-")[:40]
    return f"{said}-{digest}" if said else digest


def _placed(rows: list[Row], epochs: int) -> Iterator[tuple[str, int, Row]]:
    """Each result with its sample and its epoch: promptfoo numbers repeats like tests of their own."""
    seen: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: int(row.get("testIdx") or 0)):
        name = _name(row)
        copy, epoch = divmod(seen.get(name, 0), epochs)
        seen[name] = seen.get(name, 0) + 1
        yield (f"{name}-{copy + 1}" if copy else name), epoch, row


def _sample(name: str, row: Row, choice: Choice) -> Sample:
    given, case = _given(row), row.get("testCase") or {}
    filled = given["vars"]
    facts = {**filled, **(case.get("metadata") or {})}
    tags, cluster = tags_of(facts, choice, name)
    only = next(iter(filled.values()), None) if len(filled) == 1 else None
    asked = only if isinstance(only, str) and only else json.dumps(filled, ensure_ascii=False, sort_keys=True)
    judged = json.dumps([given["assert"], given["threshold"]], ensure_ascii=False, sort_keys=True)
    return Sample(id=name, input=asked, reference=judged, tags=tags, cluster=cluster)


def _lost(column: Row, rows: int) -> int:
    """How many results a column counts beyond those that it holds."""
    counts = column.get("metrics") or {}
    told = sum(int(counts.get(key) or 0) for key in ("testPassCount", "testFailCount", "testErrorCount"))
    return max(0, told - rows)


def _configured(config: Mapping[str, Any]) -> int:
    """How many test cases the configuration lists; 0 where they are made of lists of values or another file."""
    tests = config.get("tests")
    if not isinstance(tests, list) or not all(isinstance(each, dict) and "vars" in each for each in tests):
        return 0
    filled = [each["vars"] for each in tests]
    plain = all(isinstance(each, dict) and not any(isinstance(v, list) for v in each.values()) for each in filled)
    return len(tests) if plain else 0


def _metrics(rows: list[Row]) -> tuple[list[str], dict[str, str]]:
    """`pass`, `score`, and the named scores that every graded result has; and why others do not count."""
    graded = [_named(row) for row in rows if row.get("gradingResult") and row.get("failureReason") != _ERROR]
    every = dict.fromkeys(name for names in graded for name in names)
    everywhere = [name for name in every if all(name in names for names in graded)]
    left = {name: "not every test has it" for name in every if name not in everywhere}
    return ["pass", "score", *everywhere], left


def _named(row: Row) -> dict[str, Any]:
    scores = row.get("namedScores") or (row.get("gradingResult") or {}).get("namedScores") or {}
    return {f"named.{name}" if name in ("pass", "score") else name: value for name, value in scores.items()}


def _found(name: str, epoch: int, row: Row) -> Found:
    graded, answer = row.get("gradingResult") or {}, _answer(row)
    values = {"pass": bool(row.get("success")), "score": row.get("score"), **_named(row)}
    reason = str(graded.get("reason") or "")
    failure = None
    if row.get("failureReason") == _ERROR or (row.get("error") and not graded):
        failure = silent(answer) if _answered(row) else failure_of(str(row.get("error") or ""))
    failure = failure or silent(answer) or _unjudged(row)
    return Found(name, epoch, values, {"score": reason, "pass": reason}, failure, answer)


def _unjudged(row: Row) -> Failure | None:
    """The failure of a result that nothing judged; promptfoo passes a test without assertions."""
    graded = row.get("gradingResult") or {}
    if not graded:
        return Failure("not_measured", "the tool gave no score")
    if not graded.get("componentResults") and not (row.get("testCase") or {}).get("assert"):
        return Failure("not_measured", "the test asserts nothing")
    return None


def _answered(row: Row) -> bool:
    """Whether an engine answered with status 200, and the result is an error for want of a word in it."""
    kept = ((row.get("response") or {}).get("metadata") or {}).get("http") or {}
    return kept.get("status") == 200 and row.get("failureReason") != _ERROR


def _answer(row: Row) -> Answer | None:
    response = row.get("response")
    if not isinstance(response, dict):
        return None
    said, usage = response.get("output"), response.get("tokenUsage") or {}
    headers = ((response.get("metadata") or {}).get("http") or {}).get("headers") or {}
    text = said if isinstance(said, str) else "" if said is None else json.dumps(said, ensure_ascii=False)
    return Answer(
        text=text,
        cached=bool(response.get("cached")),
        finish_reason=response.get("finishReason"),
        input_tokens=usage.get("prompt"),
        output_tokens=usage.get("completion"),
        latency_s=float(row.get("latencyMs") or 0) / 1000,
        release=headers.get(RELEASE),
        release_digest=headers.get(DIGEST),
        replica=headers.get(REPLICA),
        cost=headers.get(COST),
    )
