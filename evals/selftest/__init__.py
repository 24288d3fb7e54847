"""How often a gate is wrong on a data set: A against A, and against A with a planted regression, many times over.

drawing    evidence drawn anew from runs that exist, and regressions planted in it
swapping   regressions planted in real answers, and scored by the real scorers
tally      what the gate said, how often it may say so, and whether that holds
"""
