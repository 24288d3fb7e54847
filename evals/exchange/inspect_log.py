"""Inspect AI: an evaluation log, `.eval` or `.json`.

A sample that errored has no score there and is in no mean of Inspect's; here it is a failure. So are the samples that
the log names and does not hold, scores that are NaN, and an answer that is the text of an error: Inspect writes what an
engine says of a prompt that is too long as the model's answer, and scores it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.exchange.files import archived, read_object
from evals.exchange.imported import UNREAD, Choice, Found, Imported, chosen, failure_of, silent, tags_of
from evals.schema import Answer, Failure, Sample, ToolCall
from gateway.contracts.errors import InputError

TOOL = "inspect-ai"
_WORDS: Mapping[str, float] = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Inspect's own values of its marks: correct, partly correct, incorrect, no answer; and of yes and no."""
_WHAT = "a log of Inspect AI"


def read(path: Path, choice: Choice) -> Imported:
    """Read one log. Raises InputError."""
    log = _whole(path)
    told = log.get("eval")
    if not isinstance(told, dict) or "dataset" not in told or "task" not in told:
        raise InputError(f"{str(path)!r}: expected {_WHAT}, found no `eval` with a task and a dataset in it")
    if not log.get("samples"):
        raise InputError(f"{str(path)!r} holds no samples: run `inspect eval` with --log-samples")
    held = [each for each in log["samples"] if isinstance(each, dict)]
    data, config = told["dataset"], told.get("config") or {}
    samples = _samples(held, data, choice)
    results = tuple(_found(each) for each in held)
    metrics = chosen(choice.metrics, (name for each in results for name in each.values), f"{str(path)!r}: --metric: it")
    params = {**(told.get("model_generate_config") or {}), **((log.get("plan") or {}).get("config") or {})}
    return Imported(
        tool=TOOL,
        version=str((told.get("packages") or {}).get("inspect_ai", "unknown")),
        suite=str(told["task"]),
        dataset=str(data.get("name") or told["task"]),
        model=str(told.get("model", "unknown")),
        files=(path,),
        samples=samples,
        results=results,
        metrics=metrics,
        epochs=int(config.get("epochs") or 1),
        total=max(int(data.get("samples") or 0), len(samples)),
        params={key: value for key, value in params.items() if key not in _OF_TRAFFIC},
        settings={
            "task_version": told.get("task_version"),
            "task_args": told.get("task_args"),
            "scorers": told.get("scorers"),
            "solvers": (log.get("plan") or {}).get("steps"),
        },
        created=str(told.get("created", "")),
    )


_OF_TRAFFIC = frozenset({"max_retries", "timeout", "attempt_timeout", "max_connections", "adaptive_connections"})


def _whole(path: Path) -> Mapping[str, Any]:
    """The log as one object. In an archive, header and samples are entries of their own."""
    if path.suffix != ".eval":
        return read_object(path, _WHAT)
    entries = dict(archived(path, _WHAT))
    header = entries.get("header.json") or entries.get("_journal/start.json") or {}
    samples = [entry for name, entry in sorted(entries.items()) if name.startswith("samples/")]
    return {**header, "samples": samples}


def _samples(held: list[dict[str, Any]], data: Mapping[str, Any], choice: Choice) -> tuple[Sample, ...]:
    """Every sample that the task was given, in the order of the log's list of ids."""
    found: dict[str, Sample] = {}
    for each in held:
        sample_id = str(each.get("id"))
        facts = each.get("metadata") or {}
        tags, cluster = tags_of(facts, choice, sample_id)
        found.setdefault(
            sample_id, Sample(id=sample_id, input=_input(each), reference=_target(each), tags=tags, cluster=cluster)
        )
    given = [str(each) for each in data.get("sample_ids") or found]
    return tuple(
        found.get(sample_id, Sample(id=sample_id, input=UNREAD)) for sample_id in dict.fromkeys([*given, *found])
    )


def _input(held: Mapping[str, Any]) -> str | list[dict[str, Any]]:
    asked, choices = held.get("input", ""), held.get("choices") or []
    offered = "".join(f"\n{chr(ord('A') + position)}) {text}" for position, text in enumerate(choices))
    if isinstance(asked, str):
        return (asked + offered) or UNREAD
    messages = [{"role": str(each.get("role")), "content": each.get("content")} for each in asked]
    return [*messages, {"role": "user", "content": offered.strip()}] if offered else messages


def _target(held: Mapping[str, Any]) -> str | list[str] | None:
    target = held.get("target")
    return [str(each) for each in target] or None if isinstance(target, list) else str(target or "") or None


def _found(held: Mapping[str, Any]) -> Found:
    values, explanations = {}, {}
    for name, score in (held.get("scores") or {}).items():
        for metric, value in _parts(name, score.get("value")):
            values[metric] = _number(value)
            explanations[metric] = str(score.get("explanation") or "")
    answer = _answer(held)
    return Found(
        id=str(held.get("id")),
        epoch=int(held.get("epoch") or 1) - 1,
        values=values,
        explanations=explanations,
        failure=_failure(held, answer),
        answer=answer,
        attempts=1 + len(held.get("error_retries") or ()),
    )


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A scorer's values: one, or one under each key, as `scorer.key`."""
    if isinstance(value, dict):
        yield from ((f"{name}.{key}", part) for key, part in value.items())
    else:
        yield name, value


def _number(value: Any) -> Any:
    """A mark as its number; anything else as it is."""
    if not isinstance(value, str):
        return value
    known = _WORDS.get(value, _WORDS.get(value.lower()))
    if known is not None:
        return known
    try:
        return float(value)
    except ValueError:
        return value


def _failure(held: Mapping[str, Any], answer: Answer) -> Failure | None:
    output, error = held.get("output") or {}, held.get("error")
    if held.get("invalidation"):
        return Failure("not_reported", "the sample was invalidated in the log")
    if error:
        return failure_of(str(error.get("message", "")))
    if answer.finish_reason in ("model_length", "content_filter") and not output.get("usage"):
        return Failure("rejected", f"{answer.finish_reason}: {answer.text}"[:300])
    if not held.get("scores"):
        return Failure("not_measured", "the tool gave no score")
    return silent(answer)


def _answer(held: Mapping[str, Any]) -> Answer:
    output = held.get("output") or {}
    first = (output.get("choices") or [{}])[0]
    calls = [
        ToolCall(str(call.get("function", "")), call.get("arguments") or {})
        for message in (held.get("messages") or [first.get("message") or {}])
        for call in message.get("tool_calls") or ()
    ]
    usage = output.get("usage") or {}
    return Answer(
        text=_said(output, first),
        tool_calls=calls,
        finish_reason=first.get("stop_reason"),
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        latency_s=float(output.get("time") or 0.0),
    )


def _said(output: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    said = output.get("completion")
    if isinstance(said, str) and said:
        return said
    content = (first.get("message") or {}).get("content")
    return content if isinstance(content, str) else "" if content is None else json.dumps(content, ensure_ascii=False)
