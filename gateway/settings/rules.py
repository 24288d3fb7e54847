"""Rules: which release of a model answers, by request, key, header, region and local time. The first that holds wins.

rules:
  - {id: carnival, when: 'local.holidays.exists(h, h.startsWith("Carnival"))', release: support@4}
  - {id: black-friday, from: "2026-11-27T00:00-03:00", until: "2026-12-01T00:00-03:00", release: support@5}
  - {id: default, release: live}
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from gateway.contracts import documents
from gateway.settings import conditions
from gateway.settings.calendars import Regions, SeasonConfig, WindowConfig, calendar_mistakes
from gateway.settings.conditions import Context, Vocabulary

LIVE = "live"
"""The release that the model serves by promotion."""
DEFAULT = "default"
"""The id of the last rule, which always holds."""
Header = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9a-z-]{1,64}$")]
_SECRET = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


def _not_secret(headers: tuple[str, ...]) -> tuple[str, ...]:
    for name in headers:
        if name in _SECRET:
            raise ValueError(f"{name!r} carries a secret, and what a rule reads is recorded")
    return headers


Headers = Annotated[tuple[Header, ...], AfterValidator(_not_secret)]


class RuleConfig(documents.Frozen):
    """A rule holds from `from` on and before `until`, where `when` is true.

    `release` is one of the model's, or `live`.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    when: str | None = None
    from_: Annotated[documents.Moment | None, Field(alias="from")] = None
    until: documents.Moment | None = None
    release: str = LIVE

    @model_validator(mode="after")
    def _some_time(self) -> "RuleConfig":
        if self.from_ is not None and self.until is not None and self.from_ >= self.until:
            raise ValueError(f"`until` comes after `from`, found {str(self.from_)!r} and {str(self.until)!r}")
        return self

    @property
    def always(self) -> bool:
        """Whether it holds at any time, whatever is asked."""
        return self.when is None and self.from_ is None and self.until is None


def rule_mistakes(
    models: Mapping[str, Sequence[RuleConfig]],
    regions: Regions,
    headers: tuple[str, ...],
    windows: Mapping[str, WindowConfig],
    seasons: Mapping[str, SeasonConfig],
) -> Iterator[tuple[documents.Location, str]]:
    """What is wrong with the rules of the models and with what they refer to, but for the names of releases."""
    yield from calendar_mistakes(regions)
    words = Vocabulary(headers, regions.calendars, windows, seasons)
    sampled = conditions.context(conditions.sample(headers))
    told: dict[str, list[str]] = {}
    for model, rules in models.items():
        for index, rule in enumerate(rules):
            at: documents.Location = ("models", model, "rules", index)
            yield from (((*at, *key), message) for key, message in _of_order(rules, index))
            if rule.when is None:
                continue
            if rule.when not in told:
                told[rule.when] = list(_of_condition(rule.when, words, sampled))
            yield from (((*at, "when"), message) for message in told[rule.when])


def release_mistakes(
    model: str, rules: Sequence[RuleConfig], releases: Sequence[str]
) -> Iterator[tuple[documents.Location, str]]:
    """Rules that lead to a release that the model does not have."""
    for index, rule in enumerate(rules):
        if rule.release != LIVE and rule.release not in releases:
            known = ", ".join(releases)
            yield (
                ("models", model, "rules", index, "release"),
                f"{rule.release!r} is neither `live` nor one of its releases: {known}",
            )


def _of_order(rules: Sequence[RuleConfig], index: int) -> Iterator[tuple[documents.Location, str]]:
    rule, last = rules[index], index == len(rules) - 1
    if rule.id in (each.id for each in rules[:index]):
        yield ("id",), f"two rules are called {rule.id!r}: a decision is recorded by the id of its rule"
    elif last and rule.id != DEFAULT:
        yield ("id",), f"the last rule is called {DEFAULT!r} and has no condition, found {rule.id!r}: add one"
    elif last and not rule.always:
        yield (), "the last rule always holds: leave `when`, `from` and `until` out"
    elif not last and rule.id == DEFAULT:
        yield ("id",), f"{DEFAULT!r} comes last: no rule after it could win"
    elif not last and rule.always:
        yield (), f"{rule.id!r} always holds, and hides the rules after it: give it `when`, `from` or `until`"


def _of_condition(text: str, words: Vocabulary, sampled: Context) -> Iterator[str]:
    try:
        yield from conditions.mistakes(conditions.condition(text, words.headers), words, sampled)
    except ValueError as error:
        yield str(error)
