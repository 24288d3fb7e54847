"""lm-evaluation-harness: `results_DATE.json` and, beside it, one `samples_TASK_DATE.jsonl` a task (`--log_samples`).

A sample is a row of the task's data set, as JSON, with its target: not the prompt, for few-shot examples, chat template
and system message belong to what is tested. Each line of a samples file is one row under one filter; with several
filters a metric is called as in the results, `exact_match,strict-match`.
"""

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.exchange.files import objects, read_object
from evals.exchange.imported import UNREAD, Choice, Found, Imported, chosen, silent, tags_of
from evals.schema import Answer, Sample
from gateway.contracts.errors import InputError

TOOL = "lm-eval"
_RESULTS = re.compile(r"results_(?P<date>.+)\.json")
_SETTINGS = (
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "description",
    "num_fewshot",
    "metric_list",
    "filter_list",
    "generation_kwargs",
    "output_type",
    "repeats",
)


@dataclass(frozen=True, slots=True)
class _Task:
    name: str
    rows: list[Mapping[str, Any]]
    metrics: tuple[str, ...]
    left_out: dict[str, str]
    falling: frozenset[str]
    filters: tuple[str, ...]
    effective: int
    original: int


def read(path: Path, choice: Choice) -> Imported:
    """Read a run: its folder, its results file or one of its samples files. Raises InputError."""
    results, logged = _files(path)
    told = read_object(results, "lm-eval's results")
    if "lm_eval_version" not in told or "n-samples" not in told:
        raise InputError(f"{str(results)!r} is no results file of lm-eval 0.4.3 or later: it names no n-samples")
    names = chosen(choice.tasks, sorted(told["n-samples"]), f"{str(results)!r}: --task: the run")
    missing = [name for name in names if name not in logged]
    if missing:
        raise InputError(
            f"no samples of task {missing[0]!r} beside {str(results)!r}: run lm_eval with --log_samples, or name other "
            "tasks with --task"
        )
    tasks = [_task(name, list(objects(logged[name], "lm-eval's samples")), told) for name in names]
    kinds = {(task.metrics, tuple(sorted(task.falling))) for task in tasks}
    if len(kinds) > 1:
        listed = "; ".join(f"{task.name}: {', '.join(task.metrics) or 'none'}" for task in tasks)
        raise InputError(f"the tasks of {str(results)!r} have different metrics ({listed}): import one with --task")
    many = len(tasks) > 1
    taken = [(sample, found) for task in tasks for sample, found in _samples(task, choice, many)]
    config, configs = told.get("config") or {}, told.get("configs") or {}
    settings = {
        "versions": {name: told.get("versions", {}).get(name) for name in names},
        "tasks": {name: {key: configs.get(name, {}).get(key) for key in _SETTINGS} for name in names},
        "gen_kwargs": config.get("gen_kwargs"),
    }
    return Imported(
        tool=TOOL,
        version=str(told["lm_eval_version"]),
        suite=names[0] if not many else "+".join(names),
        dataset=names[0] if not many else f"{len(names)} tasks",
        model=str(told.get("model_name") or told.get("model_source") or "unknown"),
        files=(results, *(logged[name] for name in names)),
        samples=tuple(sample for sample, _ in taken),
        results=tuple(found for _, found in taken if found is not None),
        metrics=chosen(choice.metrics, tasks[0].metrics, _where(results, tasks[0])),
        total=sum(task.original for task in tasks),
        params=dict(config.get("gen_kwargs") or {}),
        settings=settings,
        left_out=tasks[0].left_out,
        falling=tasks[0].falling,
    )


def _where(results: Path, task: _Task) -> str:
    left = "".join(f"; {name}: {reason}" for name, reason in task.left_out.items())
    return f"{str(results)!r}: --metric: task {task.name!r}" + (f"{left};" if left else "")


def _files(path: Path) -> tuple[Path, dict[str, Path]]:
    """The results file, and the samples files of the same date by task."""
    if not path.exists():
        raise InputError(
            f"{str(path)!r}: there is no such file or folder: name a run's folder, or its results_DATE.json"
        )
    if path.is_dir():
        found = sorted(path.rglob("results_*.json"))
        if len(found) != 1:
            listed = ", ".join(str(each.relative_to(path)) for each in found) or "none"
            raise InputError(f"{str(path)!r}: expected one results_*.json of lm-eval below it, found {listed}: name it")
        path = found[0]
    if path.suffix == ".jsonl":
        beside = [each for each in path.parent.glob("results_*.json") if path.stem.endswith(_date(each))]
        if len(beside) != 1:
            raise InputError(f"{str(path)!r}: expected its results_DATE.json beside it, which names metrics and counts")
        path = beside[0]
    if not _RESULTS.fullmatch(path.name):
        raise InputError(f"{str(path)!r}: expected lm-eval's results_DATE.json, a samples file beside one, or a folder")
    start, end = "samples_", f"_{_date(path)}.jsonl"
    logged = path.parent.glob(f"{start}*{end}")
    return path, {each.name.removeprefix(start).removesuffix(end): each for each in logged}


def _date(results: Path) -> str:
    match = _RESULTS.fullmatch(results.name)
    return match["date"] if match else "\0"


def _task(name: str, rows: list[Mapping[str, Any]], told: Mapping[str, Any]) -> _Task:
    """What one task measured; a metric counts where each row has a number of its own for it."""
    filters = tuple(dict.fromkeys(str(row.get("filter", "none")) for row in rows))
    better = told.get("higher_is_better", {}).get(name, {})
    metrics: list[str] = []
    left_out: dict[str, str] = {}
    falling: set[str] = set()
    for metric in dict.fromkeys(str(metric) for row in rows for metric in row.get("metrics", ())):
        known = [f"{metric},{each}" for each in filters] if len(filters) > 1 else [metric]
        if any(isinstance(row.get(metric), list | dict | str) for row in rows):
            left_out[metric] = "it has no score for a single sample"
            continue
        if better.get(metric) is False:
            falling.update(known)
        metrics += known
    counts = told["n-samples"][name]
    return _Task(
        name, rows, tuple(metrics), left_out, frozenset(falling), filters, counts["effective"], counts["original"]
    )


def _samples(task: _Task, choice: Choice, many: bool) -> Iterable[tuple[Sample, Found | None]]:
    """Each row of the data set with its result; None for one that the results count and the samples lack.

    Raises InputError for a row with two results of one filter: the last one would count, whatever the others say.
    """
    by_row: dict[int, list[Mapping[str, Any]]] = {}
    for row in task.rows:
        by_row.setdefault(int(row["doc_id"]), []).append(row)
    before = f"{task.name}/" if many else ""
    for number, rows in sorted(by_row.items()):
        sample_id, doc = f"{before}{number}", rows[0].get("doc")
        facts = doc if isinstance(doc, dict) else {}
        tags, cluster = tags_of(facts, choice, sample_id)
        if len({str(row.get("filter", "none")) for row in rows}) < len(rows):
            raise InputError(
                f"lm-eval's samples of task {task.name!r}: row {number} has two results of one filter: which one "
                "counts is unknown; name the samples as one run wrote them"
            )
        sample = Sample(
            id=sample_id,
            input=json.dumps(doc, ensure_ascii=False, sort_keys=True),
            reference=_text(rows[0].get("target")),
            tags=[*([task.name] if many else []), *tags],
            cluster=cluster and f"{before}{cluster}",
        )
        yield sample, _found(sample_id, rows, task)
    lost = (number for number in range(task.original) if number not in by_row)
    for number in itertools.islice(lost, max(0, task.effective - len(by_row))):
        yield Sample(id=f"{before}{number}", input=UNREAD, tags=[task.name] if many else []), None


def _found(sample_id: str, rows: list[Mapping[str, Any]], task: _Task) -> Found:
    values = {
        f"{metric},{row.get('filter')}" if len(task.filters) > 1 else metric: row.get(metric)
        for row in rows
        for metric in row.get("metrics", ())
    }
    answer, generated = _answer(rows[0])
    return Found(sample_id, values=values, answer=answer, failure=silent(answer) if generated else None)


def _answer(row: Mapping[str, Any]) -> tuple[Answer | None, bool]:
    """The text that was generated, or of a multiple choice the continuation that was the most likely.

    Second: whether it was generated. A rolling log-likelihood has no answer.
    """
    asked, resps = row.get("arguments") or {}, row.get("resps") or []
    options = [each.get("arg_1") for each in asked.values() if isinstance(each, dict)]
    if options and isinstance(options[0], dict):
        return Answer(text=_text(_first(resps)) or ""), True
    if not options or not all(isinstance(each, str) for each in options):
        return None, False
    likely = [float(_first(each)) for each in resps]
    return Answer(text=str(options[likely.index(max(likely))])), False


def _first(resps: Any) -> Any:
    """The first of lists in lists: of repeats, of a log-likelihood and whether it is the most likely text."""
    while isinstance(resps, list) and resps:
        resps = resps[0]
    return None if isinstance(resps, list) else resps


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
