"""How much a key or a team may ask for, and who comes first."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.contracts import documents

STANDARD = "standard"
"""The class of what names none."""

MOST = 10**12


def _number(value: object) -> object:
    """`rpm: yes` would read as one request per minute."""
    if isinstance(value, bool):
        raise ValueError(f"expected a whole number from 1, found {str(value).lower()}")
    return value


Limit = Annotated[int, BeforeValidator(_number), Field(ge=1, le=MOST)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class Quota(documents.Frozen):
    """What may be asked for. None: no limit.

    `rpm` requests and `tpm` tokens (of prompts and answers) per minute; `concurrency` requests in flight at once.
    """

    rpm: Limit | None = None
    tpm: Limit | None = None
    concurrency: Limit | None = None

    @property
    def limits_nothing(self) -> bool:
        """Whether there is no limit in it."""
        return self.rpm is None and self.tpm is None and self.concurrency is None


class ClassConfig(documents.Frozen):
    """A priority class. A higher `level` comes first; `max_queued` bounds how many of its requests may wait."""

    level: Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
    max_queued: Annotated[int, Field(ge=0)] | None = None


CLASSES: dict[str, ClassConfig] = {
    "interactive": ClassConfig(level=100),
    STANDARD: ClassConfig(level=0),
    "batch": ClassConfig(level=-10),
}
"""What there is where a configuration names no classes of its own."""


class TeamConfig(Quota):
    """What all keys of a team share.

    `models` are those that its keys may use, and a key's own list can only narrow them; None: every model. `class` is
    that of its keys that name none. `weight` is its share against the other teams of its class.
    """

    models: tuple[str, ...] | None = None
    priority_class: Name | None = Field(default=None, alias="class")
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0


def limit_mistakes(
    classes: Mapping[str, ClassConfig], teams: Mapping[str, TeamConfig], models: Collection[str]
) -> Iterator[tuple[documents.Location, str]]:
    """What is wrong with `classes` and `teams`: names that refer to nothing, and two bounds of one level."""
    if STANDARD not in classes:
        yield ("classes",), f"no class {STANDARD!r}: it is that of keys and teams that name none"
    first = dict[int, str]()
    for name, each in classes.items():
        other = first.setdefault(each.level, name)
        if each.max_queued != classes[other].max_queued:  # a queue knows classes by their levels
            bounds = [f"{which!r} has {_bound(classes[which])}" for which in (other, name)]
            told = f"classes of one level wait together, and {', '.join(bounds)}: give both the same, or other levels"
            yield ("classes", name, "max_queued"), told
    for name, team in teams.items():
        if team.priority_class is not None and team.priority_class not in classes:
            at: documents.Location = ("teams", name, "class")
            yield at, f"no class {team.priority_class!r}; the classes here are {', '.join(sorted(classes))}"
        for index, model in enumerate(team.models or ()):
            if model not in models:
                yield (
                    ("teams", name, "models", index),
                    f"no model {model!r}; the models here are {', '.join(sorted(models))}",
                )


def _bound(each: ClassConfig) -> str:
    return "none" if each.max_queued is None else str(each.max_queued)
