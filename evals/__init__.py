"""Tollgate's harness: datasets in, scores and signed verdicts out."""
