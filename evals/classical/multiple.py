"""p-values of several metrics together.

A gate whose every condition must pass needs none of this: it is an intersection-union test. Who looks at a list of
p-values for the one that is small does.
"""

from collections.abc import Sequence
from typing import Literal

Method = Literal["holm", "fdr_bh"]


def adjusted(p_values: Sequence[float | None], method: Method = "holm") -> list[float | None]:
    """p-values adjusted for their number, in their order; None stays None and does not count.

    `holm` (Holm 1979) bounds the chance of a single false alarm, `fdr_bh` (Benjamini and Hochberg 1995) the share of
    false ones among the alarms. Raises ValueError for a value outside [0, 1].
    """
    known = [p for p in p_values if p is not None]
    if any(not 0.0 <= p <= 1.0 for p in known):
        raise ValueError(f"expected p-values in [0, 1], found {known}")
    if not known:
        return [None] * len(p_values)
    from statsmodels.stats.multitest import multipletests

    found = iter(float(p) for p in multipletests(known, method=method)[1])
    return [None if p is None else next(found) for p in p_values]
