"""How often what is drawn is drawn: often enough to see a law broken, and far more often when that is asked for."""

import os

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def often(usually: int, *, thorough: int) -> int:
    """So many draws in every run, so many with HYPOTHESIS_PROFILE=thorough."""
    return thorough if THOROUGH else usually
