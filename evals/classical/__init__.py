"""The standard tests and intervals, by scipy and statsmodels: what others compute, beside the bound that decides.

Each function returns None where its statistic cannot know: below two values, with one cluster, where nothing differs.
Nothing here decides on a release; the gate's own bound holds where these lean on an approximation (see `evals.stats`).
statsmodels brings pandas and takes seconds to load, so that it is loaded on the first call.
"""
