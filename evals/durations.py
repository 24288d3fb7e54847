"""Spans of time as people write them: `14d`, `12h`, `30m`."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator

_SHAPE = re.compile(r"^([1-9][0-9]{0,4})([mhd])$")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def span(text: str) -> timedelta:
    """The span that a text means. Raises ValueError for any other text."""
    match = _SHAPE.match(text)
    if not match:
        raise ValueError(f"expected a number and a unit, such as 14d, 12h or 30m; found {text!r}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _checked(text: str) -> str:
    span(text)
    return text


Duration = Annotated[str, AfterValidator(_checked)]
"""A field that holds such a text."""
