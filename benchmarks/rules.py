"""What the decision by rules costs a request, by the number of models and of rules of each.

    python -m benchmarks.rules
    python -m benchmarks.rules --json

Figures in microseconds of CPU time, the best of several runs on a warm and idle core, of `Rulebook.decide`:

    same        what the rules read was seen before: nearly every request
    new minute  the first request of a model after the clock turned, with what a header says seen before
    new header  a header of the request has a value that was never seen

A third of the rules reads local time, a third a header and the key, a third a limit of tokens; the last rule wins, so
every one of them is asked where one has to be. `build` is the milliseconds that it takes to compile them, away from any
request. Combinations with more than `--most` rules in all are left out.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.inside import alone
from gateway.config import GatewayConfig
from gateway.policy.auth import Principal
from gateway.policy.endpoints import CHAT
from gateway.policy.request import parse
from gateway.policy.rules import Decision, Rulebook
from gateway.settings import conditions

MODELS = (1, 100, 1000)
RULES = (1, 10, 100, 1000, 10_000)
START = 1_793_000_400.0
"""A full minute of October 2026."""
REQUEST = parse(b'{"model":"m","messages":[{"role":"user","content":"hello"}],"max_tokens":50}', CHAT)
PRINCIPAL = Principal("k", "support", "serve", None)


def configuration(models: int, rules: int) -> GatewayConfig:
    """So many models with so many rules each, and the default."""
    return GatewayConfig.model_validate(
        {
            "headers": ["x-tenant"],
            "regions": {"default": "BR", "calendars": {"BR": {"timezone": "America/Sao_Paulo", "country": "BR"}}},
            "windows": {"night": {"rrule": "FREQ=DAILY;BYHOUR=22;BYMINUTE=0;BYSECOND=0", "duration": "PT8H"}},
            "pools": {"main": {"replicas": [{"url": "http://127.0.0.1:1"}]}},
            "models": {
                f"m{model}": {
                    "live": f"m{model}@1",
                    "releases": [{"manifest": "-", "pool": "main"}],
                    "rules": [*_rules(rules), {"id": "default"}],
                }
                for model in range(models)
            },
        }
    )


def _rules(count: int) -> Iterator[dict[str, Any]]:
    for at in range(count):
        when = (
            f'headers["x-tenant"] == "t{at}" && key.team == "sales"',
            f'"night" in local.windows && local.minute_of_day == {at + 1440}',
            f'req.max_tokens > {at + 100_000} && key.team != "t{at}"',
        )[at % 3]
        yield {"id": f"r{at}", "when": when}


def measure(models: int, rules: int, count: int) -> dict[str, float]:
    """The figures of one combination; `count` decisions for each."""
    conditions.condition.cache_clear()
    config, since = configuration(models, rules), time.process_time()
    rulebook = Rulebook(config)
    built = (time.process_time() - since) * 1e3
    rulebook.prepare(START)
    names = itertools.cycle(rulebook.books)
    clock = {"now": START}
    known: dict[bytes, bytes] = {b"x-tenant": b"none"}

    def decide(model: str) -> Decision | None:
        return rulebook.decide(model, REQUEST, PRINCIPAL, known.get, clock["now"])

    def later() -> None:
        """Every model meets the new minute once; the calendar is looked at by the first."""
        name = next(names)
        if name == "m0":
            clock["now"] += 60
        decide(name)

    numbers = itertools.count()

    def other() -> None:
        known[b"x-tenant"] = b"n%d" % next(numbers)
        decide(next(names))

    for name in rulebook.books:
        decide(name)
    return {
        "same": alone(lambda: decide(next(names)), count),
        "new minute": alone(later, count),
        "new header": alone(other, count),
        "build": built,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="decisions of each figure (2000)")
    parser.add_argument("--most", type=int, default=100_000, help="rules in all (100000)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pairs = [(models, rules) for models in MODELS for rules in RULES if models * rules <= options.most]
    found = [{"models": m, "rules": r, **measure(m, r, options.count)} for m, r in pairs]
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'models':>7}{'rules of each':>15}{'same':>9}{'new minute':>13}{'new header':>13}{'build ms':>11}")
    for each in found:
        figures = (each["same"], each["new minute"], each["new header"])
        print(
            f"{each['models']:>7}{each['rules']:>15}{figures[0]:>9.2f}{figures[1]:>13.2f}{figures[2]:>13.2f}{each['build']:>11.0f}"
        )


if __name__ == "__main__":
    main()
