"""Tags: on whose behalf a request was made, for whoever divides the bill. Names and values are text.

tags: {project: x-project, feature: x-feature}

A key has tags of its own (`gateway keys create --tag project=alpha`). A request adds those whose headers the
configuration admits here; where its key has a tag of that name, the key's counts: a client cannot say who else pays.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from gateway.settings.calendars import Name
from gateway.settings.rules import Header

MOST = 16
"""Tags of a key, and headers that a configuration admits as some."""
LONGEST = 128
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SECRET = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


def _admitted(headers: dict[str, str]) -> dict[str, str]:
    if len(headers) > MOST:
        raise ValueError(f"expected at most {MOST} tags, found {len(headers)}")
    for name in headers.values():
        if name in _SECRET:
            raise ValueError(f"{name!r} carries a secret, and tags are recorded")
    return headers


Tags = Annotated[dict[Name, Header], AfterValidator(_admitted)]
"""Names of tags, and the request header that each is read from."""


def is_value(text: str) -> bool:
    """Whether a tag can have this value: 1 to 128 printable characters."""
    return 0 < len(text) <= LONGEST and text.isprintable()


def mistake(tags: Mapping[str, str]) -> str | None:
    """What is wrong with the tags of a key; None when nothing is."""
    if len(tags) > MOST:
        return f"expected at most {MOST} tags, found {len(tags)}"
    for name, value in tags.items():
        if _NAME.fullmatch(name) is None:
            return f"expected a name of letters, digits and _.- (64 at most), found {name!r}"
        if not is_value(value):
            return f"tag {name!r}: expected 1 to {LONGEST} printable characters, found {value!r}"
    return None


def encode(tags: Mapping[str, str]) -> str | None:
    """The JSON that rows and keys hold, its names in order; None for no tags."""
    return json.dumps(dict(sorted(tags.items())), ensure_ascii=False, separators=(",", ":")) if tags else None


def decode(text: str | None) -> dict[str, str]:
    """The tags of a row or a key."""
    return {} if text is None else dict(json.loads(text))
