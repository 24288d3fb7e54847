"""Configurations with rules, requests for them, and conditions that nobody would write."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from gateway.config import GatewayConfig
from gateway.policy.endpoints import CHAT, ENDPOINTS
from gateway.policy.inputs import Header
from gateway.policy.request import parse
from gateway.policy.shapes import Request
from gateway.settings import conditions

HEADERS = ("x-tier", "x-intent")
BRAZIL = {
    "timezone": "America/Sao_Paulo", "country": "BR", "subdivision": "SP", "categories": ["public", "optional"],
    "language": "en_US", "dates": {"2026-11-27": "Black Friday"},
}  # fmt: skip
REGIONS = {
    "default": "BR-SP",
    "header": "x-region",
    "calendars": {"BR-SP": BRAZIL, "US-CA": {"timezone": "America/Los_Angeles", "country": "US", "subdivision": "CA"}},
}
PEAK = {"rrule": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=18;BYMINUTE=0;BYSECOND=0", "duration": "PT5H"}
DEFAULT = {"id": "default", "release": "live"}
Rules = Sequence[Mapping[str, Any]]


def config(models: Mapping[str, Rules], **changes: Any) -> GatewayConfig:
    """Models with these rules before the default one, each with the releases 1 (live), 2 and 3."""
    values: dict[str, Any] = {
        "headers": HEADERS,
        "regions": REGIONS,
        "windows": {"peak": PEAK},
        "seasons": {"summer": {"from": "12-21", "to": "03-20"}, "winter": {"from": "06-21", "to": "09-22"}},
        "enforcement": {"mode": "off"},
        "pools": {"main": {"replicas": [{"url": "http://127.0.0.1:1"}]}},
        "models": {
            name: {
                "live": f"{name}@1",
                "releases": [{"manifest": f"{name}-{number}.yaml", "pool": "main"} for number in (1, 2, 3)],
                "rules": [*rules, DEFAULT] if rules else [],
            }
            for name, rules in models.items()
        },
    }
    return GatewayConfig.model_validate(values | changes)


def ruled(*conditions: str, **changes: Any) -> GatewayConfig:
    """The model `faq` with these conditions, whose rules are called r0, r1 …."""
    rules = [{"id": f"r{at}", "when": when, "release": "faq@2"} for at, when in enumerate(conditions)]
    return config({"faq": rules}, **changes)


def request(path: str = CHAT.path, **fields: Any) -> Request:
    """A request for the model `faq`."""
    return parse(json.dumps({"model": "faq", **fields}).encode(), ENDPOINTS[path])


def header(**values: str) -> Header:
    """Headers by their names, with `_` for `-`."""
    return {name.replace("_", "-").encode(): value.encode() for name, value in values.items()}.get


STRINGS = [
    "req.model", "req.endpoint", "key.team", "key.scope", 'headers["x-tier"]', "headers['x-intent']", "region",
    "local.date",
]  # fmt: skip
NUMBERS = ["req.body_bytes", "req.max_tokens", "req.choices", "local.hour", "local.minute_of_day", "local.weekday"]
LISTS = ["local.holidays", "local.windows", "local.seasons"]
TEXTS = ["faq", "sales", "gold", "buy", "BR-SP", "peak", "summer", ""]
_texts, _numbers = st.sampled_from(TEXTS).map(json.dumps), st.sampled_from([0, 1, 5, 18, 50, 100, 1110])
_compared = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


def _of(template: str, *parts: Any) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: template.format(*found))


_string, _number, _list = st.sampled_from(STRINGS), st.sampled_from(NUMBERS), st.sampled_from(LISTS)
_ATOMS = st.one_of(
    _of("{} {} {}", _string, st.sampled_from(["==", "!="]), _texts),
    _of("{1} == {0}", _string, _texts),
    _of("{} in [{}, {}]", _string, _texts, _texts),
    _of("{}.startsWith({})", _string, _texts),
    _of("{} {} {}", _number, _compared, _numbers),
    _of("{1} {2} {0}", _number, _numbers, _compared),
    _of("{} + {} {} {}", _number, _numbers, _compared, _numbers),
    _of("{} / {} == 1", _number, _number),  # fails where the second is 0
    _of("int({}) > {}", _string, _numbers),  # fails for what is no number
    _of("{} in {}", _texts, _list),
    _of("{}.exists(x, x == {} || {} == {})", _list, _texts, _string, _texts),
    _of("{}.size() {} {}", _list, _compared, _numbers),
    _of("{}", st.sampled_from(["req.stream", "local.is_holiday", '"x-tier" in headers', "[local][0].hour > 5"])),
    _of("{}.size() > {}", st.sampled_from(["req", "key", "headers"]), _numbers),
    _of('now < timestamp("2026-{}-01T00:00:00Z")', st.sampled_from(["11", "12"])),
)
CONDITIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        _of("({} && {})", inner, inner),
        _of("{} && {}", inner, inner),
        _of("({} || {})", inner, inner),
        _of("!({})", inner),
        _of("({} ? {} : {})", inner, inner, inner),
    ),
    max_leaves=5,
)
"""Conditions of every shape, some of which fail for some values."""


def values() -> st.SearchStrategy[dict[str, Any]]:
    """A value for everything that a condition may read, by its dotted name."""
    words = st.sampled_from(TEXTS)
    found: dict[str, st.SearchStrategy[Any]] = {}
    for name, value in conditions.sample(HEADERS).items():
        if isinstance(value, bool):
            found[name] = st.booleans()
        elif isinstance(value, int):
            found[name] = st.sampled_from([0, 1, 2, 5, 6, 17, 18, 19, 50, 51, 1110])
        elif isinstance(value, tuple):
            found[name] = st.lists(words, max_size=2).map(tuple)
        else:
            found[name] = words if isinstance(value, str) else st.just(value)
    return st.fixed_dictionaries(found)
