"""McNemar's test: did more samples fall than rise, of those whose 0 or 1 changed between two runs?"""

from typing import NamedTuple


class McNemar(NamedTuple):
    """Two p-values of "a sample is as likely to fall as to rise", and the statistic of the second.

    `exact` is the binomial test on the flips, `chi2` the approximation with Edwards' correction of continuity.
    """

    exact: float
    chi2: float
    statistic: float


def mcnemar(fell: int, rose: int) -> McNemar | None:
    """McNemar's test (1947) of flips, two-sided; None when nothing flipped. Raises ValueError for negative counts.

    The samples count as independent: with clusters the p-values are too small. A large p-value is no proof of equality:
    ten samples never prove a regression.
    """
    if fell < 0 or rose < 0:
        raise ValueError(f"expected counts of flips, found {fell} and {rose}")
    if fell + rose == 0:
        return None
    from statsmodels.stats.contingency_tables import mcnemar as test

    table = [[0, fell], [rose, 0]]  # samples that did not flip have no part in it
    corrected = test(table, exact=False, correction=True)
    exact = float(test(table, exact=True).pvalue)
    return McNemar(min(1.0, exact), float(corrected.pvalue), float(corrected.statistic))
