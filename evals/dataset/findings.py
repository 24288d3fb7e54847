"""What a lint finds: a level, a code for scripts, a sentence for people, the samples that it is about."""

from typing import Literal

import msgspec

Level = Literal["error", "warning"]


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong (`error`) or looks wrong (`warning`). `line` is set where the file itself is broken."""

    level: Level
    code: str
    message: str
    samples: list[str] = []
    line: int | None = None
