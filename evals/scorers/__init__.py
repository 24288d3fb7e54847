"""Scorers: what judges an answer. One signature for all of them, one file for each family.

A scorer is a pydantic model (its fields are the options of the suite file, checked with the suite) with one method:

    class Exact(Scorer):
        async def score(self, sample: Sample, answer: Answer, services: Services) -> Score: ...

    SCORERS = {"exact": Exact}

Every module of this package that has a `SCORERS` table is found here, so that a new scorer is one new file. A score
lies in [0, 1]; a scorer that cannot judge raises `Unjudged` (the outcome is then `harness_error`), it never guesses.
What it needs of others, a judge or embeddings, it asks of `services`.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError

from evals.config import ScorerSpec
from evals.schema import Sample
from evals.scorers.base import Scorer


def known() -> dict[str, type[Scorer]]:
    """All scorers by name."""
    found: dict[str, type[Scorer]] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        table: dict[str, type[Scorer]] = getattr(importlib.import_module(f"{__name__}.{module.name}"), "SCORERS", {})
        found |= table
    return found


def build(spec: ScorerSpec) -> Scorer:
    """The scorer that a suite asks for. Raises ValueError for an unknown name or wrong options."""
    table = known()
    if spec.name not in table:
        near = difflib.get_close_matches(spec.name, table, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown scorer {spec.name!r}: {hint}The known ones are {', '.join(sorted(table))}")
    kind = table[spec.name]
    try:
        return kind.model_validate(spec.options)
    except ValidationError as error:
        details = "; ".join(_explain(kind, detail["type"], detail["loc"], detail["msg"]) for detail in error.errors())
        raise ValueError(f"scorer {spec.name!r}: {details}") from error


def build_all(specs: Sequence[ScorerSpec]) -> dict[str, Scorer]:
    """The scorers of a suite by the name of their metric."""
    return {spec.metric: build(spec) for spec in specs}


def unfit(built: Mapping[str, Scorer], samples: Iterable[Sample]) -> list[str]:
    """What each scorer needs and samples lack, in sentences that name both."""
    held, said = list(samples), []
    for metric, scorer in built.items():
        if lacking := [repr(sample.id) for sample in held if scorer.lacks(sample)]:
            more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
            said.append(f"scorer {metric!r} needs `{scorer.needs}`, and {', '.join(lacking[:5])}{more} have none")
    return said


def _explain(kind: type[Scorer], error: str, location: tuple[int | str, ...], message: str) -> str:
    fields = [field.alias or name for name, field in kind.model_fields.items()]
    key = str(location[0]) if location else ""
    if error == "extra_forbidden":
        near = difflib.get_close_matches(key, fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"its options are {', '.join(fields) or 'none'}"
        return f"unknown option {key!r}: {hint}"
    if error == "missing":
        return f"missing option {key!r}"
    return f"{key}: {message}" if key else message.removeprefix("Value error, ")
