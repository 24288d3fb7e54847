"""The calls of tools that an answer makes, against those that it should make."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field

from evals.client import UNREADABLE
from evals.schema import Answer, Sample, Score, ToolCall
from evals.scorers.base import Scorer, Services

_LONGEST = 120
Matches = Callable[[ToolCall, ToolCall], bool]


class ToolCalls(Scorer):
    """1 when the answer makes the sample's `expected_calls`; an empty list of them means that no call may be made.

    `order: exact` asks for their order as well. `arguments: exact` wants the same arguments, `subset` allows more than
    the expected ones (in objects inside of them too), `names` compares names alone; arguments in `ignore` are not
    looked at. Numbers may differ by `tolerance`, or by `relative` times the expected one; 1 and 1.0 are the same,
    1 and true are not. `extra: true` allows calls that nobody expects. `credit: partial` gives F1 over the calls, or
    their recall where extra ones are allowed. Arguments that are no JSON object are wrong whatever is asked for.
    """

    needs = "expected_calls"

    example: ClassVar[Mapping[str, Any]] = {"arguments": "subset", "ignore": ["request_id"], "credit": "partial"}

    order: Literal["any", "exact"] = "any"
    arguments: Literal["exact", "subset", "names"] = "exact"
    ignore: tuple[str, ...] = ()
    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    relative: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    extra: bool = False
    credit: Literal["all", "partial"] = "all"

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1], with what is missing or too much. Raises ValueError for a sample without expected_calls."""
        expected, made = sample.expected_calls, answer.tool_calls
        if expected is None:
            raise ValueError(f"sample {sample.id!r} has no expected_calls; an empty list means that none may be made")
        if not expected:
            return Score(0.0, _explain([], made)) if made else Score(1.0)
        pairs = (_in_order if self.order == "exact" else _in_any_order)(expected, made, self._matches)
        missing = [call for place, call in enumerate(expected) if place not in pairs]
        beyond = [call for place, call in enumerate(made) if place not in pairs.values()]
        unwanted = [] if self.extra else beyond
        if not missing and not unwanted:
            return Score(1.0)
        total = len(expected) if self.extra else (len(expected) + len(made)) / 2
        return Score(len(pairs) / total if self.credit == "partial" else 0.0, _explain(missing, beyond))

    def _matches(self, expected: ToolCall, made: ToolCall) -> bool:
        if expected.name != made.name or UNREADABLE in made.arguments:
            return False
        if self.arguments == "names":
            return True
        wanted, found = self._looked_at(expected), self._looked_at(made)
        return self._equal(wanted, found)

    def _looked_at(self, call: ToolCall) -> dict[str, Any]:
        return {name: value for name, value in call.arguments.items() if name not in self.ignore}

    def _equal(self, wanted: Any, found: Any) -> bool:
        """Equality of JSON values; its depth is that of `wanted`, whatever the model wrote."""
        if isinstance(wanted, dict) and isinstance(found, dict):
            keys = wanted.keys() <= found.keys() if self.arguments == "subset" else wanted.keys() == found.keys()
            return keys and all(self._equal(value, found[key]) for key, value in wanted.items())
        if isinstance(wanted, list) and isinstance(found, list):
            return len(wanted) == len(found) and all(map(self._equal, wanted, found))
        if _is_number(wanted) and _is_number(found):
            return bool(wanted == found) or self._near(wanted, found)
        return type(wanted) is type(found) and bool(wanted == found)

    def _near(self, wanted: float, found: float) -> bool:
        exact, other = _decimal(wanted), _decimal(found)
        if not (exact.is_finite() and other.is_finite()):
            return False
        allowed = max(_decimal(self.tolerance), abs(exact) * _decimal(self.relative))
        return abs(exact - other) <= allowed


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _decimal(value: float) -> Decimal:
    """As it was written: 0.1 is a tenth. A long integer has no text that Python would make of it."""
    return Decimal(value) if isinstance(value, int) else Decimal(str(value))


def _in_any_order(expected: Sequence[ToolCall], made: Sequence[ToolCall], matches: Matches) -> dict[int, int]:
    """The most pairs possible, expected place to made place: augmenting paths, for a call may satisfy several."""
    taken: dict[int, int] = {}

    def place(wanted: int, seen: set[int]) -> bool:
        for found, call in enumerate(made):
            if found in seen or not matches(expected[wanted], call):
                continue
            seen.add(found)
            if found not in taken or place(taken[found], seen):
                taken[found] = wanted
                return True
        return False

    for wanted in range(len(expected)):
        place(wanted, set())
    return {wanted: found for found, wanted in taken.items()}


def _in_order(expected: Sequence[ToolCall], made: Sequence[ToolCall], matches: Matches) -> dict[int, int]:
    """The most pairs possible that keep the order: the longest common subsequence, read off its table."""
    fits = [[matches(wanted, call) for call in made] for wanted in expected]
    table = [[0] * (len(made) + 1) for _ in range(len(expected) + 1)]
    for row in reversed(range(len(expected))):
        for column in reversed(range(len(made))):
            down, right = table[row + 1][column], table[row][column + 1]
            table[row][column] = table[row + 1][column + 1] + 1 if fits[row][column] else max(down, right)
    pairs: dict[int, int] = {}
    row = column = 0
    while row < len(expected) and column < len(made):
        if fits[row][column]:
            pairs[row] = column
            row, column = row + 1, column + 1
        elif table[row + 1][column] >= table[row][column + 1]:
            row += 1
        else:
            column += 1
    return pairs


def _explain(missing: Sequence[ToolCall], beyond: Sequence[ToolCall]) -> str:
    parts = [
        f"{word}: {', '.join(map(_shown, calls))}" for word, calls in (("missing", missing), ("made", beyond)) if calls
    ]
    return "; ".join(parts)


def _shown(call: ToolCall) -> str:
    if UNREADABLE in call.arguments:
        return f"{call.name}({str(call.arguments[UNREADABLE])[:_LONGEST]!r}: arguments that are no JSON object)"
    return f"{call.name}({msgspec.json.encode(call.arguments).decode()[:_LONGEST]})"


SCORERS: dict[str, type[Scorer]] = {"tool_calls": ToolCalls}
