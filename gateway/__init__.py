"""Tollgate's gateway: the one door in front of a fleet of engines."""

__version__ = "0.1.0"
