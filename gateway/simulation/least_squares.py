"""Least squares for a handful of unknowns that cannot be negative."""

from collections.abc import Sequence
from itertools import combinations

SINGULAR = 1e-9
"""A pivot below it: the columns say the same, to within what doubles can tell."""


def nnls(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """The x >= 0 with the least |rows · x - values|², for a handful of columns.

    It is the unconstrained answer on those of its columns that are not 0 (Lawson and Hanson 1974), so it is the best of
    the answers on all sets of columns that are not negative.
    """
    count = len(rows[0])
    scaled, scales = _scaled(rows)
    best, least = [0.0] * count, sum(value * value for value in values)
    for size in range(1, count + 1):
        for columns in combinations(range(count), size):
            answer = _normal(scaled, values, columns)
            if answer is None or min(answer) < 0:
                continue
            told = [sum(row[at] * x for at, x in zip(columns, answer, strict=True)) for row in scaled]
            error = sum((one - other) ** 2 for one, other in zip(told, values, strict=True))
            if error < least:
                least, best = error, [0.0] * count
                for at, x in zip(columns, answer, strict=True):
                    best[at] = x / scales[at]
    return best


def independent(rows: Sequence[Sequence[float]]) -> bool:
    """Whether every column says something that the others do not."""
    return _normal(_scaled(rows)[0], [1.0] * len(rows), range(len(rows[0]))) is not None


def _scaled(rows: Sequence[Sequence[float]]) -> tuple[list[list[float]], list[float]]:
    """Columns whose largest value is 1, and what they were divided by: seconds and tokens differ by a million."""
    scales = [max((abs(row[at]) for row in rows), default=0.0) or 1.0 for at in range(len(rows[0]))]
    return [[value / scale for value, scale in zip(row, scales, strict=True)] for row in rows], scales


def _normal(rows: Sequence[Sequence[float]], values: Sequence[float], columns: Sequence[int]) -> list[float] | None:
    """Least squares on some columns, by the normal equations; None where these columns do not tell."""
    size = len(columns)
    matrix = [[sum(row[a] * row[b] for row in rows) for b in columns] for a in columns]
    right = [sum(row[a] * value for row, value in zip(rows, values, strict=True)) for a in columns]
    for at in range(size):
        pivot = max(range(at, size), key=lambda each: abs(matrix[each][at]))
        if abs(matrix[pivot][at]) < SINGULAR:
            return None
        matrix[at], matrix[pivot], right[at], right[pivot] = matrix[pivot], matrix[at], right[pivot], right[at]
        for below in range(at + 1, size):
            factor = matrix[below][at] / matrix[at][at]
            right[below] -= factor * right[at]
            for column in range(at, size):
                matrix[below][column] -= factor * matrix[at][column]
    answer = [0.0] * size
    for at in reversed(range(size)):
        known = sum(matrix[at][column] * answer[column] for column in range(at + 1, size))
        answer[at] = (right[at] - known) / matrix[at][at]
    return answer
