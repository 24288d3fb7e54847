"""Data sets: samples in a JSON Lines, CSV or Parquet file, their digests, their card and their splits.

    load(path)                     every sample of a file, checked; the digest does not depend on the format
    load_split(path, "test")       the samples of one frozen split, for a run or a gate

The other modules look at what was loaded: `lint` (with `duplicates`, `corpus`, `cards`, `splits`) and `diff`.
"""

from evals.dataset.formats import load, save
from evals.dataset.samples import Dataset, sample_digest, whole_digest
from evals.dataset.splits import load_split

__all__ = ["Dataset", "load", "load_split", "sample_digest", "save", "whole_digest"]
